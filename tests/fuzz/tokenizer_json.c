/* tokenizer.json: opened, then a few texts are encoded; every id must have a piece. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/targets.h"
#include "text/tokenizer_json.h"

static void encode(const TimJsonTokenizer *tokenizer, const char *text, size_t size) {
    TimTokenIds ids = {0};
    TimError err;
    (void)tim_json_tokenizer_encode(tokenizer, text, size, &ids, &err);
    for (size_t i = 0; i < ids.count; i++)
        if (!tim_json_tokenizer_piece(tokenizer, ids.ids[i])) abort();
    tim_token_ids_done(&ids);
}

int fuzz_tokenizer_json(const uint8_t *data, size_t size) {
    static const char *const texts[] = {
        "",
        " ",
        "a red cat",
        "  two  spaces \n\n\xE3\x80\x80",
        "aaaaaaaaabbbbbbb ab",
        "\xE6\x9D\xB1\xE4\xBA\xAC \xF0\x9F\x99\x82 <s></s>a<pad> b",
    };
    static const char zeros[64];
    TimJsonTokenizer *tokenizer;
    TimError err;
    if (tim_json_tokenizer_new(&tokenizer, data, size, &err) != TIM_OK) return 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) encode(tokenizer, texts[i], strlen(texts[i]));
    encode(tokenizer, "\0a\0", 3);
    encode(tokenizer, zeros, sizeof zeros);
    tim_json_tokenizer_free(tokenizer);
    return 1;
}
