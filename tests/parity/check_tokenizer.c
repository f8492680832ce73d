/* tokenizer: texts and their ids. NAME.json belongs to the SentencePiece model NAME.model, NAME_cases.json to NAME.json in the
 * other format. Ids must be equal, and where they are stored the pieces, the number of pieces and the special ids; what an unknown
 * character's piece is, only the text knows. One line for each text and for each of these. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"
#include "parity/checks.h"
#include "text/tokenizer.h"

static TimStatus open_tokenizer(ParityFile *file, TimTokenizer **tokenizer, TimError *err) {
    static const char cases[] = "_cases.json", json[] = ".json";
    const size_t length = strlen(file->path);
    const bool other = length > sizeof cases && strcmp(file->path + length - (sizeof cases - 1), cases) == 0;
    char *path;
    TIM_TRY(parity_new(file, &path, length + 8, 1, err));
    snprintf(path, length + 8, "%.*s%s", (int)(length - (other ? sizeof cases : sizeof json) + 1), file->path,
             other ? ".json" : ".model");
    return tim_tokenizer_open(tokenizer, path, err);
}

static void report(ParityFile *file, const char *what, size_t place, bool same) {
    char name[64];
    snprintf(name, sizeof name, "%s/%zu", what, place);
    parity_report(file, name, same ? 0.0 : 1.0, 0.0);
}

static bool same_ids(const TimTokenIds *ids, const json_t *expected) {
    bool same = json_is_array(expected) && json_array_size(expected) == ids->count;
    for (size_t i = 0; same && i < ids->count; i++) same = json_integer_value(json_array_get(expected, i)) == ids->ids[i];
    return same;
}

static bool same_pieces(const TimTokenizer *t, const TimTokenIds *ids, const json_t *expected) {
    bool same = json_array_size(expected) == ids->count;
    for (size_t i = 0; same && i < ids->count; i++) {
        const char *piece = tim_tokenizer_piece(t, ids->ids[i]), *wanted = json_string_value(json_array_get(expected, i));
        same = ids->ids[i] == tim_tokenizer_unk(t) || (piece && wanted && strcmp(piece, wanted) == 0);
    }
    return same;
}

static TimStatus check_case(ParityFile *file, const TimTokenizer *t, const json_t *entry, size_t place, TimError *err) {
    const json_t *text = json_object_get(entry, "text"), *pieces = json_object_get(entry, "pieces");
    TimTokenIds ids = {0};
    if (!json_is_string(text)) return tim_fail(err, TIM_E_FORMAT, "case %zu has no text", place);
    const TimStatus status = tim_tokenizer_encode(t, json_string_value(text), json_string_length(text), &ids, err);
    if (status == TIM_OK) report(file, "ids", place, same_ids(&ids, json_object_get(entry, "ids")));
    if (status == TIM_OK && pieces) report(file, "pieces", place, same_pieces(t, &ids, pieces));
    tim_token_ids_done(&ids);
    return status;
}

static void check_number(ParityFile *file, const json_t *parent, const char *key, long long actual) {
    const json_t *value = json_object_get(parent, key);
    if (value) parity_report(file, key, json_integer_value(value) == actual ? 0.0 : 1.0, 0.0);
}

static TimStatus check_open(ParityFile *file, const TimTokenizer *t, const json_t *document, TimError *err) {
    const json_t *cases = json_object_get(document, "cases"), *special = json_object_get(document, "special");
    if (!json_is_array(cases)) return tim_fail(err, TIM_E_FORMAT, "it has no list of cases");
    check_number(file, document, "vocab_size", (long long)tim_tokenizer_count(t));
    check_number(file, special, "bos", tim_tokenizer_bos(t));
    check_number(file, special, "eos", tim_tokenizer_eos(t));
    check_number(file, special, "pad", tim_tokenizer_pad(t));
    check_number(file, special, "unk", tim_tokenizer_unk(t));
    for (size_t i = 0; i < json_array_size(cases); i++) TIM_TRY(check_case(file, t, json_array_get(cases, i), i, err));
    return TIM_OK;
}

TimStatus check_tokenizer(ParityFile *file, TimError *err) {
    json_t *document;
    TimTokenizer *tokenizer;
    TIM_TRY(parity_json_file(file, &document, err));
    TIM_TRY(open_tokenizer(file, &tokenizer, err));
    const TimStatus status = check_open(file, tokenizer, document, err);
    tim_tokenizer_close(tokenizer);
    return status;
}
