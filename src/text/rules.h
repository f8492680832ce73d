/* What a tokenizer.json does to a text before its model sees it: a list of normalizers, which change the text, and a list of
 * pre-tokenizers, which cut it. Behaviour: Hugging Face tokenizers 0.22, but for Precompiled, which is SentencePiece's (rules.c,
 * match), and for Metaspace's "first" where a normalizer takes away how the text begins: there nothing is put before it. Only what
 * the published text encoders use is known; a file that asks for more is refused by name, for a text cut differently gives other
 * ids silently. Invariant: what is normalized is UTF-8, at most TIM_RULES_MAX_TEXT bytes long and, of a short text, not many times
 * as long. */
#ifndef TIM_TEXT_RULES_H
#define TIM_TEXT_RULES_H

#include <jansson.h>
#include <stdbool.h>

#include "io/buffer.h"
#include "text/charsmap.h"

enum { TIM_RULES_MAX = 32, TIM_RULES_MAX_TEXT = 64 << 20 };

typedef enum TimRuleKind {
    TIM_RULE_REPLACE,        /* pattern by content */
    TIM_RULE_REPLACE_SPACES, /* two or more spaces by content */
    TIM_RULE_CHARSMAP,
    TIM_RULE_PREPEND, /* content, unless the text is empty */
    TIM_RULE_STRIP,   /* white space at the ends */
    TIM_RULE_SPLIT,   /* at pattern */
    TIM_RULE_SPLIT_SPACE,
    TIM_RULE_METASPACE /* spaces to pattern, put before the text, and a cut before each */
} TimRuleKind;

typedef enum TimSplitBehavior {
    TIM_SPLIT_REMOVED,
    TIM_SPLIT_ISOLATED,
    TIM_SPLIT_MERGED_WITH_PREVIOUS,
    TIM_SPLIT_MERGED_WITH_NEXT,
    TIM_SPLIT_CONTIGUOUS
} TimSplitBehavior;

typedef enum TimPrepend { TIM_PREPEND_NEVER, TIM_PREPEND_FIRST, TIM_PREPEND_ALWAYS } TimPrepend;

typedef struct TimRule {
    TimRuleKind kind;
    const char *pattern, *content; /* borrowed from the JSON */
    size_t pattern_size, content_size;
    TimSplitBehavior behavior;
    TimPrepend prepend;
    bool left, right; /* of STRIP */
    bool cut;         /* of METASPACE */
    TimCharsmap map;  /* in `bytes` */
    uint8_t *bytes;   /* owned */
} TimRule;

typedef struct TimRules {
    TimRule items[TIM_RULES_MAX];
    int count;
} TimRules;

/* Read "normalizer" and "pre_tokenizer", which are borrowed; null or NULL gives no rules. tim_rules_done is due also after a
 * failure. */
TimStatus tim_rules_read_normalizer(TimRules *rules, const json_t *value, TimError *err);
TimStatus tim_rules_read_pre_tokenizer(TimRules *rules, const json_t *value, TimError *err);

void tim_rules_done(TimRules *rules);

/* Changes `text` as the normalizers say. */
TimStatus tim_rules_normalize(const TimRules *rules, TimBuffer *text, TimError *err);

/* Parts of a text, one after the other in one buffer; none is empty. {0} is empty. */
typedef struct TimParts {
    TimBuffer text;
    size_t *ends; /* (count): where each part ends, and the next begins */
    size_t count, capacity;
} TimParts;

void tim_parts_done(TimParts *parts);

/* Cuts a text as the pre-tokenizers say; `first`: it is the start of what was given to be encoded. */
TimStatus tim_rules_split(const TimRules *rules, const char *text, size_t size, bool first, TimParts *parts, TimError *err);

/* True for the characters of Unicode's White_Space. */
bool tim_is_space(uint32_t code);

#endif
