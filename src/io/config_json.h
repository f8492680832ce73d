/* The network's configuration as JSON: the text that golden files and checkpoints carry in their metadata. */
#ifndef TIM_IO_CONFIG_JSON_H
#define TIM_IO_CONFIG_JSON_H

#include "base/error.h"
#include "tim/config.h"

/* Reads an object with the keys of model.network.params over the defaults and checks the result; `kind` is "c2i" or "t2i".
 * After a failure `config` holds the defaults. */
TimStatus tim_network_config_from_json(TimNetworkConfig *config, const char *json_text, const char *kind, TimError *err);

#endif
