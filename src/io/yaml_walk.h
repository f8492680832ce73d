/* Walks a YAML text (libyaml) and hands out its values with their paths, without building a tree: memory does not depend on the
 * text, so nothing in a hostile file can make it grow. Aliases are refused; depth, path length and size are bounded. */
#ifndef TIM_IO_YAML_WALK_H
#define TIM_IO_YAML_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "io/config_fields.h"

/* Called for every value in the order of the file, for a mapping or list before its content. A failure ends the walk. */
typedef TimStatus (*TimYamlVisit)(void *context, const TimFieldValue *value, TimError *err);

/* Walks the one document of `text`; every error names the line. */
TimStatus tim_yaml_walk(const uint8_t *text, size_t size, TimYamlVisit visit, void *context, TimError *err);

#endif
