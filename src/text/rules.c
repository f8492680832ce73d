#include "text/rules.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

enum { MAX_DEPTH = 8 }; /* of sequences in sequences */

bool tim_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* ---- reading ---- */

static const char *type_of(const json_t *value) {
    const char *type = json_string_value(json_object_get(value, "type"));
    return type ? type : "(no type)";
}

static TimStatus unsupported(const char *what, const json_t *value, TimError *err) {
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "the %s '%s' is not known here, or not in this form; give the encoder's SentencePiece model "
                    "(tokenizer.model, spiece.model)",
                    what, type_of(value));
}

/* A text of the file; "" may be allowed. */
static bool take_text(const json_t *value, const char **text, size_t *size) {
    if (!json_is_string(value)) return false;
    *text = json_string_value(value);
    *size = json_string_length(value);
    return true;
}

/* One that is searched for or put in its place: published ones have 1 to 3 bytes, and the time of a search grows with them. */
static bool take_short(const json_t *value, const char **text, size_t *size) {
    enum { MAX_SIZE = 64 };
    return take_text(value, text, size) && *size <= MAX_SIZE;
}

/* A pattern is {"String": text}, or the one regular expression that is known: two or more spaces. */
static bool take_pattern(TimRule *rule, const json_t *pattern) {
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    if (take_short(json_object_get(pattern, "String"), &rule->pattern, &rule->pattern_size)) return rule->pattern_size > 0;
    if (!regex || strcmp(regex, " {2,}") != 0) return false;
    rule->kind = TIM_RULE_REPLACE_SPACES;
    return true;
}

/* A text's bytes from base64 (RFC 4648); false when it is none. */
static bool decode_base64(uint8_t *out, size_t *count, const char *text, size_t size) {
    uint32_t bits = 0;
    int filled = 0;
    *count = 0;
    while (size > 0 && text[size - 1] == '=') size--;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        const int digit = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        if (digit < 0) return false;
        bits = (bits << 6 | (uint32_t)digit) & 0xFFFFFF;
        filled += 6;
        if (filled < 8) continue;
        filled -= 8;
        out[(*count)++] = (uint8_t)(bits >> filled);
    }
    return true;
}

static TimStatus read_charsmap(TimRule *rule, const json_t *value, TimError *err) {
    const char *text;
    size_t size, count;
    rule->kind = TIM_RULE_CHARSMAP;
    if (json_is_null(json_object_get(value, "precompiled_charsmap"))) return TIM_OK; /* T5 without one */
    if (!take_text(json_object_get(value, "precompiled_charsmap"), &text, &size)) return unsupported("normalizer", value, err);
    TIM_TRY(tim_new(&rule->bytes, size / 4 * 3 + 4, 1, "a map of characters", err));
    const char *wrong =
        decode_base64(rule->bytes, &count, text, size) ? tim_charsmap_open(&rule->map, rule->bytes, count) : "it is not base64";
    return wrong ? tim_fail(err, TIM_E_FORMAT, "'precompiled_charsmap': %s; is the download complete?", wrong) : TIM_OK;
}

static TimStatus read_normalizer(TimRule *rule, const json_t *value, TimError *err) {
    const char *type = type_of(value);
    bool known = false;
    if (strcmp(type, "Precompiled") == 0) return read_charsmap(rule, value, err);
    if (strcmp(type, "Replace") == 0) {
        rule->kind = TIM_RULE_REPLACE;
        known = take_pattern(rule, json_object_get(value, "pattern")) &&
                take_short(json_object_get(value, "content"), &rule->content, &rule->content_size);
    } else if (strcmp(type, "Prepend") == 0) {
        rule->kind = TIM_RULE_PREPEND;
        known = take_short(json_object_get(value, "prepend"), &rule->content, &rule->content_size);
    } else if (strcmp(type, "Strip") == 0) {
        rule->kind = TIM_RULE_STRIP;
        rule->left = json_is_true(json_object_get(value, "strip_left"));
        rule->right = json_is_true(json_object_get(value, "strip_right"));
        known = true;
    }
    return known ? TIM_OK : unsupported("normalizer", value, err);
}

static bool read_behavior(TimRule *rule, const json_t *value) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(value, "behavior"));
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        rule->behavior = (TimSplitBehavior)i;
        return true;
    }
    return false;
}

/* Files before tokenizers 0.15 have add_prefix_space where newer ones have prepend_scheme. */
static bool read_metaspace(TimRule *rule, const json_t *value) {
    static const char *const schemes[] = {"never", "first", "always"};
    const char *scheme = json_string_value(json_object_get(value, "prepend_scheme"));
    rule->kind = TIM_RULE_METASPACE;
    rule->cut = !json_is_false(json_object_get(value, "split"));
    rule->prepend = json_is_false(json_object_get(value, "add_prefix_space")) ? TIM_PREPEND_NEVER : TIM_PREPEND_ALWAYS;
    bool known = !scheme;
    for (int i = 0; scheme && i < 3; i++)
        if (strcmp(scheme, schemes[i]) == 0) rule->prepend = (TimPrepend)i, known = true;
    return known && take_short(json_object_get(value, "replacement"), &rule->pattern, &rule->pattern_size) &&
           rule->pattern_size > 0;
}

static TimStatus read_pre_tokenizer(TimRule *rule, const json_t *value, TimError *err) {
    const char *type = type_of(value);
    bool known = false;
    if (strcmp(type, "Split") == 0) {
        rule->kind = TIM_RULE_SPLIT;
        known = take_pattern(rule, json_object_get(value, "pattern")) && rule->kind == TIM_RULE_SPLIT &&
                read_behavior(rule, value) && !json_is_true(json_object_get(value, "invert"));
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        rule->kind = TIM_RULE_SPLIT_SPACE;
        known = true;
    } else if (strcmp(type, "Metaspace") == 0) {
        known = read_metaspace(rule, value);
    }
    return known ? TIM_OK : unsupported("pre-tokenizer", value, err);
}

typedef TimStatus (*ReadRule)(TimRule *rule, const json_t *value, TimError *err);

static TimStatus read_rules(TimRules *rules, const json_t *value, const char *members, ReadRule read, int depth, TimError *err) {
    if (!value || json_is_null(value)) return TIM_OK;
    if (strcmp(type_of(value), "Sequence") == 0) {
        const json_t *list = json_object_get(value, members);
        if (!json_is_array(list) || depth == MAX_DEPTH) return unsupported(members, value, err);
        for (size_t i = 0; i < json_array_size(list); i++)
            TIM_TRY(read_rules(rules, json_array_get(list, i), members, read, depth + 1, err));
        return TIM_OK;
    }
    if (rules->count == TIM_RULES_MAX)
        return tim_fail(err, TIM_E_UNSUPPORTED, "more than %d %s; give the encoder's SentencePiece model", TIM_RULES_MAX, members);
    return read(&rules->items[rules->count++], value, err);
}

TimStatus tim_rules_read_normalizer(TimRules *rules, const json_t *value, TimError *err) {
    *rules = (TimRules){0};
    return read_rules(rules, value, "normalizers", read_normalizer, 0, err);
}

TimStatus tim_rules_read_pre_tokenizer(TimRules *rules, const json_t *value, TimError *err) {
    *rules = (TimRules){0};
    return read_rules(rules, value, "pretokenizers", read_pre_tokenizer, 0, err);
}

void tim_rules_done(TimRules *rules) {
    for (int i = 0; i < rules->count; i++) tim_free(rules->items[i].bytes);
    *rules = (TimRules){0};
}

/* ---- normalizing ---- */

/* What is too long fails as what does not fit into memory does: by the buffer. */
static void add(TimBuffer *out, const char *text, size_t size) {
    if (out->failed || size > TIM_RULES_MAX_TEXT - out->count)
        out->failed = true;
    else if (size > 0)
        tim_buffer_add(out, text, size);
}

static bool begins(const char *text, size_t size, const char *start, size_t start_size) {
    return size >= start_size && memcmp(text, start, start_size) == 0;
}

static size_t count_spaces(const char *text, size_t size) {
    size_t count = 0;
    while (count < size && text[count] == ' ') count++;
    return count;
}

/* Bytes of the character at `text`, 1 where there is no whole one. */
static size_t step_of(const char *text, size_t size, uint32_t *code) {
    const size_t bytes = tim_utf8_next(text, size, code);
    if (bytes > 0) return bytes;
    *code = 0;
    return 1;
}

/* Bytes at the start of `text` that the rule replaces, and by what; 0: none. The longest sequence of a map counts, as SentencePiece
 * has it. tokenizers takes a grapheme at a time: of less than 6 bytes the shortest sequence for all of it, of more each character
 * by itself, so it leaves apart what SentencePiece joins, such as Hangul and kana written in pieces. */
static size_t match(const TimRule *rule, const char *text, size_t size, const char **by, size_t *by_size) {
    size_t found = 0;
    *by = rule->content;
    *by_size = rule->content_size;
    switch (rule->kind) {
    case TIM_RULE_REPLACE:
        return begins(text, size, rule->pattern, rule->pattern_size) ? rule->pattern_size : 0;
    case TIM_RULE_REPLACE_SPACES:
        found = count_spaces(text, size);
        return found >= 2 ? found : 0;
    default:
        found = tim_charsmap_find(&rule->map, text, size, by);
        if (found > 0) *by_size = strlen(*by);
        return found;
    }
}

static void replace(const TimRule *rule, const char *text, size_t size, TimBuffer *out) {
    for (size_t at = 0; at < size && !out->failed;) {
        const char *by;
        size_t by_size;
        uint32_t code;
        const size_t found = match(rule, text + at, size - at, &by, &by_size),
                     step = found ? found : step_of(text + at, size - at, &code);
        if (found)
            add(out, by, by_size);
        else
            add(out, text + at, step);
        at += step;
    }
}

static void strip(const TimRule *rule, const char *text, size_t size, TimBuffer *out) {
    size_t begin = 0, end = 0; /* what stays: `end` is where the last character that is no space ends */
    uint32_t code;
    while (rule->left && begin < size) {
        const size_t step = step_of(text + begin, size - begin, &code);
        if (!tim_is_space(code)) break;
        begin += step;
    }
    for (size_t at = begin; at < size;) {
        at += step_of(text + at, size - at, &code);
        if (!rule->right || !tim_is_space(code)) end = at;
    }
    if (end > begin) add(out, text + begin, end - begin);
}

static void normalize(const TimRule *rule, const TimBuffer *text, TimBuffer *out) {
    switch (rule->kind) {
    case TIM_RULE_STRIP:
        strip(rule, text->bytes, text->count, out);
        return;
    case TIM_RULE_PREPEND:
        if (text->count > 0) add(out, rule->content, rule->content_size);
        add(out, text->bytes, text->count);
        return;
    default:
        replace(rule, text->bytes, text->count, out);
    }
}

/* Far more than any real normalizer makes of `size` bytes: NFKC eleven times as many. A file that asks for more wants memory and
 * time. */
static size_t most_of(size_t size) {
    const size_t factor = 64, least = 1024;
    return size < TIM_RULES_MAX_TEXT / factor - least ? size * factor + least : TIM_RULES_MAX_TEXT;
}

TimStatus tim_rules_normalize(const TimRules *rules, TimBuffer *text, TimError *err) {
    const size_t size = text->count, most = most_of(size);
    for (int i = 0; i < rules->count; i++) {
        TimBuffer out = {0};
        normalize(&rules->items[i], text, &out);
        tim_buffer_done(text);
        *text = out;
        if (text->failed)
            return tim_fail(err, TIM_E_MEMORY,
                            "no memory for a normalized text, or it becomes longer than %d bytes; give a shorter one",
                            TIM_RULES_MAX_TEXT);
        if (text->count > most)
            return tim_fail(err, TIM_E_FORMAT, "the normalizer makes %zu bytes of a text of %zu; is the tokenizer's file damaged?",
                            text->count, size);
    }
    if (text->count > 0 && tim_utf8_valid(text->bytes, text->count) != text->count)
        return tim_fail(err, TIM_E_FORMAT, "the normalizer makes of the text what is not UTF-8; is the tokenizer's file damaged?");
    return TIM_OK;
}

/* ---- cutting ---- */

void tim_parts_done(TimParts *parts) {
    tim_buffer_done(&parts->text);
    tim_free(parts->ends);
    *parts = (TimParts){0};
}

/* Ends a part at what was added last, unless it would be empty. */
static TimStatus end_part(TimParts *parts, TimError *err) {
    if (parts->text.failed) return tim_fail(err, TIM_E_MEMORY, "no memory for the parts of a text; give a shorter one");
    if (parts->text.count == (parts->count ? parts->ends[parts->count - 1] : 0)) return TIM_OK;
    TIM_TRY(tim_grow(&parts->ends, &parts->capacity, parts->count, sizeof *parts->ends, "the parts of a text", err));
    parts->ends[parts->count++] = parts->text.count;
    return TIM_OK;
}

static TimStatus add_part(TimParts *parts, const char *text, size_t size, TimError *err) {
    add(&parts->text, text, size);
    return end_part(parts, err);
}

/* Whether a cut lies between two neighbours, of which each is a match of the pattern or what lies between matches. */
static bool cuts_between(TimSplitBehavior behavior, bool left_match, bool right_match) {
    switch (behavior) {
    case TIM_SPLIT_MERGED_WITH_PREVIOUS:
        return left_match || !right_match;
    case TIM_SPLIT_MERGED_WITH_NEXT:
        return !left_match || right_match;
    case TIM_SPLIT_CONTIGUOUS:
        return left_match != right_match;
    default:
        return true;
    }
}

static TimStatus split(const TimRule *rule, TimSplitBehavior behavior, const char *text, size_t size, TimParts *parts,
                       TimError *err) {
    bool before = false, any = false; /* what the last piece was, and whether there was one */
    for (size_t at = 0; at < size;) {
        const bool is_match = begins(text + at, size - at, rule->pattern, rule->pattern_size);
        size_t end = at + (is_match ? rule->pattern_size : 1);
        while (!is_match && end < size && !begins(text + end, size - end, rule->pattern, rule->pattern_size)) end++;
        if (any && cuts_between(behavior, before, is_match)) TIM_TRY(end_part(parts, err));
        if (!is_match || behavior != TIM_SPLIT_REMOVED) add(&parts->text, text + at, end - at);
        before = is_match;
        any = true;
        at = end;
    }
    return end_part(parts, err);
}

static TimStatus split_space(const char *text, size_t size, TimParts *parts, TimError *err) {
    for (size_t at = 0; at < size;) {
        uint32_t code;
        const size_t step = step_of(text + at, size - at, &code);
        if (tim_is_space(code))
            TIM_TRY(end_part(parts, err));
        else
            add(&parts->text, text + at, step);
        at += step;
    }
    return end_part(parts, err);
}

static TimStatus metaspace(const TimRule *rule, const char *text, size_t size, bool first, TimParts *parts, TimError *err) {
    const TimRule spaces = {
        .kind = TIM_RULE_REPLACE, .pattern = " ", .pattern_size = 1, .content = rule->pattern, .content_size = rule->pattern_size};
    TimBuffer out = {0};
    const bool has_it = begins(text, size, " ", 1) || begins(text, size, rule->pattern, rule->pattern_size);
    const bool prepend = rule->prepend == TIM_PREPEND_ALWAYS || (rule->prepend == TIM_PREPEND_FIRST && first);
    if (prepend && !has_it) add(&out, rule->pattern, rule->pattern_size);
    replace(&spaces, text, size, &out);
    TimStatus status = TIM_OK;
    if (out.failed)
        status = tim_fail(err, TIM_E_MEMORY, "no memory for the parts of a text; give a shorter one");
    else
        status = rule->cut ? split(rule, TIM_SPLIT_MERGED_WITH_NEXT, out.bytes, out.count, parts, err)
                           : add_part(parts, out.bytes, out.count, err);
    tim_buffer_done(&out);
    return status;
}

static TimStatus cut(const TimRule *rule, const char *text, size_t size, bool first, TimParts *parts, TimError *err) {
    switch (rule->kind) {
    case TIM_RULE_SPLIT:
        return split(rule, rule->behavior, text, size, parts, err);
    case TIM_RULE_SPLIT_SPACE:
        return split_space(text, size, parts, err);
    default:
        return metaspace(rule, text, size, first, parts, err);
    }
}

/* Whether the rule takes something away before the first part: what follows is then not where the text starts. */
static bool loses_start(const TimRule *rule, const TimParts *parts) {
    const char *text = parts->text.bytes;
    uint32_t code;
    if (parts->count == 0) return false;
    if (rule->kind == TIM_RULE_SPLIT)
        return rule->behavior == TIM_SPLIT_REMOVED && begins(text, parts->ends[0], rule->pattern, rule->pattern_size);
    return rule->kind == TIM_RULE_SPLIT_SPACE && step_of(text, parts->ends[0], &code) > 0 && tim_is_space(code);
}

/* Replaces the parts by what the rule cuts each of them into. */
static TimStatus cut_parts(const TimRule *rule, bool first, TimParts *parts, TimError *err) {
    TimParts out = {0};
    TimStatus status = TIM_OK;
    for (size_t i = 0, begin = 0; i < parts->count && status == TIM_OK; begin = parts->ends[i++])
        status = cut(rule, parts->text.bytes + begin, parts->ends[i] - begin, first && i == 0, &out, err);
    tim_parts_done(parts);
    *parts = out;
    return status;
}

TimStatus tim_rules_split(const TimRules *rules, const char *text, size_t size, bool first, TimParts *parts, TimError *err) {
    TIM_TRY(add_part(parts, text, size, err));
    for (int i = 0; i < rules->count; i++) {
        const bool moved = loses_start(&rules->items[i], parts);
        TIM_TRY(cut_parts(&rules->items[i], first, parts, err));
        first = first && !moved;
    }
    return TIM_OK;
}
