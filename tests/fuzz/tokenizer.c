/* Tokenizers opened from their files: a SentencePiece model that encodes texts, and the configuration beside a sound
 * tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "text/tokenizer.h"

static void encode(const TimTokenizer *tokenizer, const char *text, size_t size) {
    TimTokenIds ids = {0};
    TimError err;
    (void)fuzz_taken(tim_tokenizer_encode(tokenizer, text, size, &ids, &err), &err);
    for (size_t i = 0; i < ids.count; i++)
        if (!tim_tokenizer_piece(tokenizer, ids.ids[i])) abort();
    tim_token_ids_done(&ids);
}

/* A special token is one of the tokenizer's, or none. */
static void touch_specials(const TimTokenizer *tokenizer) {
    const int32_t ids[] = {tim_tokenizer_bos(tokenizer), tim_tokenizer_eos(tokenizer), tim_tokenizer_pad(tokenizer),
                           tim_tokenizer_unk(tokenizer)};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i] < -1 || (ids[i] >= 0 && !tim_tokenizer_piece(tokenizer, ids[i]))) abort();
}

static int open_and_use(const char *path) {
    static const char *const texts[] = {
        "",
        " ",
        "a red cat",
        "  two  spaces \n\n\t",
        "aaaaaaaaabbbbbbb ab",
        "\xEF\xAC\x81 \xE6\x9D\xB1\xE4\xBA\xAC \xF0\x9F\x99\x82 <s></s>",
    };
    static const char zeros[64]; /* more than the sequences that SentencePiece has room for */
    TimTokenizer *tokenizer;
    TimError err;
    if (!fuzz_taken(tim_tokenizer_open(&tokenizer, path, &err), &err)) return 0;
    touch_specials(tokenizer);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) encode(tokenizer, texts[i], strlen(texts[i]));
    encode(tokenizer, "\0a\0", 3);
    encode(tokenizer, zeros, sizeof zeros);
    tim_tokenizer_close(tokenizer);
    return 1;
}

int fuzz_sentencepiece(const uint8_t *data, size_t size) {
    char path[FUZZ_PATH];
    return open_and_use(fuzz_file(path, "tokenizer.model", data, size));
}

int fuzz_tokenizer_config(const uint8_t *data, size_t size) {
    static const char sound[] =
        "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"<s>\":1,\"a\":2,\"b\":3,"
        "\"ab\":4},\"merges\":[\"a b\"]}}";
    char path[FUZZ_PATH];
    fuzz_file(path, "tokenizer_config.json", data, size);
    return open_and_use(fuzz_file(path, "tokenizer.json", sound, sizeof sound - 1));
}
