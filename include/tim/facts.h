/* What the files of a model say that are no weights: its configuration, those of the text encoder and the autoencoder, a
 * tokenizer. */
#ifndef TIM_FACTS_H
#define TIM_FACTS_H

#include <stdbool.h>

#include "tim/config.h"
#include "tim/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIM_FACT_MAX = 40 };

/* One setting: its name in the file where it has one, static storage. */
typedef struct TimFact {
    const char *key;
    char value[192]; /* a number, true, false, or a text in UTF-8, cut to fit */
    bool text;
} TimFact;

/* Plain values. */
typedef struct TimFacts {
    const char *kind; /* "configuration of TiM", "tokenizer.json", ...; static storage */
    bool tokenizer;
    TimFact items[TIM_FACT_MAX];
    int count; /* of items */
} TimFacts;

/* Whether a file of this name is one that tim_facts_read reads: a configuration (.yaml, .yml, config.json) or a tokenizer (.model,
 * other .json but for the index of sharded weights). Any thread. */
TIM_API bool tim_facts_known(const char *path);

/* Reads the configuration of a TiM model (YAML), the config.json of a text encoder (Gemma 3, T5) or autoencoder (AutoencoderKL,
 * AutoencoderDC), or a tokenizer (tokenizer.json or SentencePiece). Errors: TIM_E_IO, TIM_E_FORMAT, TIM_E_UNSUPPORTED, naming file,
 * key and value, as where the file is used; TIM_E_ARGUMENT for a name that is not known. After a failure there are no facts. The
 * file may be hostile. Any thread. */
TIM_API TimStatus tim_facts_read(TimFacts *facts, const char *path, TimError *err);

/* The same of a configuration that was read, or that tim_config_check accepts. Any thread. */
TIM_API void tim_facts_of_config(TimFacts *facts, const TimConfig *config);

#ifdef __cplusplus
}
#endif
#endif
