#include "text/tokenizer.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "io/file.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_check.h"
#include "text/tokenizer_json.h"

/* Exactly one of the two is there. */
struct TimTokenizer {
    TimSentencepiece *sentencepiece;
    TimJsonTokenizer *json;
    size_t count, bytes; /* of pieces; that it holds, about */
    int32_t bos, eos, pad, unk;
};

/* ---- ids ---- */

void tim_token_ids_done(TimTokenIds *ids) {
    tim_free(ids->ids);
    *ids = (TimTokenIds){0};
}

TimStatus tim_token_ids_add(TimTokenIds *ids, int32_t id, TimError *err) {
    TIM_TRY(tim_grow(&ids->ids, &ids->capacity, ids->count, sizeof *ids->ids, "the ids of a text", err));
    ids->ids[ids->count++] = id;
    return TIM_OK;
}

/* ---- special tokens ---- */

/* A token's text: "<s>" or {"content": "<s>"}. NULL for one with a zero byte, which no piece is found by. */
static const char *token_text(const json_t *value) {
    const json_t *string = json_is_string(value) ? value : json_object_get(value, "content");
    const char *text = json_string_value(string);
    return text && strlen(text) == json_string_length(string) ? text : NULL;
}

/* The token that the configuration names, or the first of the usual ones that there is. */
static int32_t find_special(const TimJsonTokenizer *json, const json_t *config, const char *key, const char *const usual[2]) {
    const char *text = token_text(json_object_get(config, key));
    if (text) return tim_json_tokenizer_find(json, text);
    if (json_object_get(config, key)) return -1; /* null, or no text: there is none */
    for (int i = 0; i < 2; i++) {
        const int32_t id = tim_json_tokenizer_find(json, usual[i]);
        if (id >= 0) return id;
    }
    return -1;
}

static void find_specials(TimTokenizer *t, const json_t *config) {
    static const char *const bos[] = {"<bos>", "<s>"}, *const eos[] = {"<eos>", "</s>"}, *const pad[] = {"<pad>", "[PAD]"};
    t->bos = find_special(t->json, config, "bos_token", bos);
    t->eos = find_special(t->json, config, "eos_token", eos);
    t->pad = find_special(t->json, config, "pad_token", pad);
    t->unk = tim_json_tokenizer_unk(t->json);
}

enum { MAX_CONFIG = 16 << 20 }; /* bytes; as JSON it takes many times as many, and published ones have 1 MB */

/* Only its texts are read; its numbers may be larger than 64 bits: transformers writes int(1e30) where no length is set. */
static TimStatus parse_config(json_t **config, const char *path, TimError *err) {
    TimFile file;
    json_error_t cause;
    TIM_TRY(tim_file_open(&file, path, err));
    const size_t size = file.size;
    *config =
        size <= MAX_CONFIG ? json_loadb((const char *)file.data, size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &cause) : NULL;
    tim_file_close(&file);
    if (size > MAX_CONFIG)
        return tim_fail(err, TIM_E_FORMAT, "%s: %zu bytes; at most %d are read: is it the tokenizer's configuration?", path, size,
                        MAX_CONFIG);
    if (!*config && json_error_code(&cause) == json_error_out_of_memory)
        return tim_fail(err, TIM_E_MEMORY, "%s: its %zu bytes of JSON do not fit into memory; free some", path, size);
    return *config ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "%s: not valid JSON at byte %d: %s", path, cause.position, cause.text);
}

/* The file beside `path` that says which tokens are special; NULL where there is none. */
static TimStatus read_config(json_t **config, const char *path, TimError *err) {
    char *beside;
    struct stat info;
    *config = NULL;
    TIM_TRY(tim_path_beside(&beside, path, "tokenizer_config.json", err));
    const TimStatus status = stat(beside, &info) == 0 ? parse_config(config, beside, err) : TIM_OK;
    tim_free(beside);
    return status;
}

/* ---- opening ---- */

static TimStatus open_json(TimTokenizer *t, const TimFile *file, const char *path, TimError *err) {
    json_t *config;
    const TimStatus status = tim_json_tokenizer_new(&t->json, file->data, file->size, err);
    if (status != TIM_OK) return tim_fail_within(err, status, "%s", path);
    TIM_TRY(read_config(&config, path, err));
    find_specials(t, config);
    json_decref(config);
    t->count = tim_json_tokenizer_count(t->json);
    t->bytes = tim_json_tokenizer_bytes(t->json);
    return TIM_OK;
}

static TimStatus load_sentencepiece(TimTokenizer *t, const TimFile *file, TimError *err) {
    enum { MAX_FILE = 128 << 20 }; /* bytes; Gemma's has 5 MB */
    uint8_t *untested;
    if (file->size > MAX_FILE)
        return tim_fail(err, TIM_E_FORMAT, "%zu bytes, and at most %d are read; is it a tokenizer's file?", file->size, MAX_FILE);
    const char *wrong = tim_sentencepiece_check(file->data, file->size);
    if (wrong) return tim_fail(err, TIM_E_FORMAT, "%s; is the download complete?", wrong);
    TIM_TRY(tim_new(&untested, file->size, 1, "the tokenizer's model", err));
    const size_t size = tim_sentencepiece_untested(untested, file->data, file->size);
    const TimStatus status = tim_sentencepiece_new(&t->sentencepiece, untested, size, err);
    tim_free(untested);
    return status;
}

static TimStatus open_sentencepiece(TimTokenizer *t, const TimFile *file, const char *path, TimError *err) {
    const TimStatus status = load_sentencepiece(t, file, err);
    if (status != TIM_OK) return tim_fail_within(err, status, "%s", path);
    t->bytes = 10 * file->size; /* as measured of a model of Gemma's size */
    const TimSentencepieceInfo info = tim_sentencepiece_info(t->sentencepiece);
    t->count = (size_t)info.count;
    t->bos = info.bos, t->eos = info.eos, t->pad = info.pad, t->unk = info.unk;
    return TIM_OK;
}

/* A tokenizer.json begins with '{', which as a field of a SentencePiece model would be of a type that there is not. */
static bool begins_as_json(const TimFile *file) {
    size_t at = 0;
    while (at < file->size && (file->data[at] == ' ' || file->data[at] == '\n' || file->data[at] == '\r' || file->data[at] == '\t'))
        at++;
    return at < file->size && file->data[at] == '{';
}

static TimStatus open_file(TimTokenizer *t, const char *path, TimError *err) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = begins_as_json(&file) ? open_json(t, &file, path, err) : open_sentencepiece(t, &file, path, err);
    tim_file_close(&file);
    return status;
}

static TimStatus open_folder(TimTokenizer *t, const char *folder, TimError *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "spiece.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path;
        struct stat info;
        TIM_TRY(tim_join_path(&path, folder, names[i], err));
        const bool there = stat(path, &info) == 0;
        const TimStatus status = there ? open_file(t, path, err) : TIM_OK;
        tim_free(path);
        if (there) return status;
    }
    return tim_fail(err, TIM_E_IO,
                    "%s: the folder has none of tokenizer.json, tokenizer.model and spiece.model; give the file itself", folder);
}

TimStatus tim_tokenizer_open(TimTokenizer **tokenizer, const char *path, TimError *err) {
    struct stat info;
    TimTokenizer *t;
    *tokenizer = NULL;
    if (stat(path, &info) != 0)
        return tim_fail(err, TIM_E_IO, "%s: %s; give a tokenizer's file, or the folder it lies in", path, strerror(errno));
    TIM_TRY(tim_new(&t, 1, sizeof *t, "a tokenizer", err));
    const TimStatus status = S_ISDIR(info.st_mode) ? open_folder(t, path, err) : open_file(t, path, err);
    if (status == TIM_OK)
        *tokenizer = t;
    else
        tim_tokenizer_close(t);
    return status;
}

void tim_tokenizer_close(TimTokenizer *tokenizer) {
    if (!tokenizer) return;
    tim_sentencepiece_free(tokenizer->sentencepiece);
    tim_json_tokenizer_free(tokenizer->json);
    tim_free(tokenizer);
}

/* ---- use ---- */

TimStatus tim_tokenizer_encode(const TimTokenizer *tokenizer, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    const size_t most = tokenizer->json ? TIM_TOKENIZER_MAX_TEXT : TIM_SENTENCEPIECE_MAX_TEXT;
    if (size > most) return tim_fail(err, TIM_E_ARGUMENT, "a text of %zu bytes; give at most %zu", size, most);
    const size_t valid = tim_utf8_valid(text, size);
    if (valid != size)
        return tim_fail(err, TIM_E_ARGUMENT, "the text's byte 0x%02x at %zu is not UTF-8; convert the text",
                        (unsigned char)text[valid], valid);
    if (size == 0) return TIM_OK;
    return tokenizer->json ? tim_json_tokenizer_encode(tokenizer->json, text, size, ids, err)
                           : tim_sentencepiece_encode(tokenizer->sentencepiece, text, size, ids, err);
}

bool tim_tokenizer_is_json(const TimTokenizer *tokenizer) {
    return tokenizer->json != NULL;
}

size_t tim_tokenizer_count(const TimTokenizer *tokenizer) {
    return tokenizer->count;
}

size_t tim_tokenizer_bytes(const TimTokenizer *tokenizer) {
    return tokenizer->bytes;
}

int32_t tim_tokenizer_bos(const TimTokenizer *tokenizer) {
    return tokenizer->bos;
}

int32_t tim_tokenizer_eos(const TimTokenizer *tokenizer) {
    return tokenizer->eos;
}

int32_t tim_tokenizer_pad(const TimTokenizer *tokenizer) {
    return tokenizer->pad;
}

int32_t tim_tokenizer_unk(const TimTokenizer *tokenizer) {
    return tokenizer->unk;
}

const char *tim_tokenizer_piece(const TimTokenizer *tokenizer, int32_t id) {
    if (id < 0 || (size_t)id >= tokenizer->count) return NULL;
    return tokenizer->json ? tim_json_tokenizer_piece(tokenizer->json, id) : tim_sentencepiece_piece(tokenizer->sentencepiece, id);
}
