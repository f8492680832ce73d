/* What tokenizers promise, on good and on hostile files; the ids of whole texts are held against golden values by the parity
 * program. Runs from the root of the sources; writes into a temporary directory only. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "fuzz/replay.h"
#include "text/charsmap.h"
#include "text/pieces.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_check.h"
#include "text/tokenizer.h"

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char path[PATH_BYTES];
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "spiece.model", "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

/* A file in the folder; its path until the next call but three. */
static const char *put_file(const char *name, const void *data, size_t size) {
    const char *path = in_folder(name);
    write_file(path, data, size);
    return path;
}

static void assert_refused(const char *json, TimStatus status, const char *part) {
    TimTokenizer *tokenizer;
    assert_int_equal(tim_tokenizer_open(&tokenizer, put_file("tokenizer.json", json, strlen(json)), &err), status);
    assert_null(tokenizer);
    assert_says("tokenizer.json");
    assert_says(part);
}

/* A BPE of a, b, ab and what `more` adds to the document and `model` to the model. */
static const char *bpe(const char *more, const char *model) {
    static char text[2048];
    snprintf(text, sizeof text,
             "{%s\"model\":{%s\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,\"ab\":3},"
             "\"merges\":[[\"a\",\"b\"]]}}",
             more, model);
    return text;
}

static void assert_ids(const char *json, const char *text, const char *expected) {
    TimTokenizer *tokenizer;
    TimTokenIds ids = {0};
    char found[256] = "";
    assert_ok(tim_tokenizer_open(&tokenizer, put_file("tokenizer.json", json, strlen(json)), &err));
    assert_ok(tim_tokenizer_encode(tokenizer, text, strlen(text), &ids, &err));
    for (size_t i = 0; i < ids.count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%d", i ? " " : "", ids.ids[i]);
    assert_string_equal(found, expected);
    tim_token_ids_done(&ids);
    tim_tokenizer_close(tokenizer);
}

static void test_bpe_lowest_rank_then_leftmost_is_merged_first(void **state) {
    (void)state;
    assert_ids(bpe("", ""), "abab", "3 3");
    assert_ids(bpe("", ""), "aabb", "1 3 2");
    assert_ids(bpe("", ""), "", "");
    assert_ids("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"b\":2,\"ab\":3},\"merges\":[\"a a\",\"a b\"]}}", "aaab",
               "1 3");
    assert_ids("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\",\"a a\"]}}", "aaab",
               "1 3");
    assert_ids("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", "axa", "0 0"); /* without unk_token */
}

static void test_bpe_unknown_characters_are_unk_or_bytes(void **state) {
    (void)state;
    assert_ids(bpe("", ""), "axyb", "1 0 0 2");
    assert_ids(bpe("", "\"fuse_unk\":true,"), "axyb", "1 0 2");
    assert_ids("{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"<0xC3>\":0,\"<0xA9>\":1,\"?\":2},\"merges\":[],"
               "\"unk_token\":\"?\"}}",
               "\xC3\xA9\xC3\xA8", "0 1 2");
}

static void test_added_tokens_leftmost_longest_are_taken(void **state) {
    (void)state;
    static const char added[] = "\"added_tokens\":[{\"id\":4,\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true},"
                                "{\"id\":5,\"content\":\"<x>a\"},{\"id\":6,\"content\":\"BB\",\"normalized\":true}],"
                                "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"B\"},\"content\":\"b\"},";
    assert_ids(bpe(added, ""), "a  <x> \xE3\x80\x80 b", "1 4 2");
    assert_ids(bpe(added, ""), "b<x>ab", "2 5 2");
    assert_ids(bpe(added, ""), "aBB<x>", "1 6 4");
}

static void test_unigram_best_sum_is_taken(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"?\",0],[\"a\",-1],[\"b\",-1],[\"ab\",-2.5],"
        "[\"abb\",-2.75]]}}";
    assert_ids(json, "ab", "1 2");
    assert_ids(json, "abb", "4");
    assert_ids(json, "axyb", "1 0 2");
}

/* "first" is the start of the text: not of what is left when a cut has taken spaces away. */
static void test_metaspace_first_is_where_the_text_starts(void **state) {
    (void)state;
    static const char json[] =
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},"
        "{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":true}]},"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xE2\x96\x81\":0,\"a\":1,\"b\":2},\"merges\":[]}}";
    assert_ids(json, "a b", "0 1 2");
    assert_ids(json, " a b", "1 2");
}

static void test_json_what_is_not_known_is_refused_by_name(void **state) {
    (void)state;
    assert_refused(bpe("\"normalizer\":{\"type\":\"NFKC\"},", ""), TIM_E_UNSUPPORTED, "'NFKC'");
    assert_refused(bpe("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"b\"},", ""),
                   TIM_E_UNSUPPORTED, "'Replace'");
    assert_refused(bpe("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"b\"},", ""),
                   TIM_E_UNSUPPORTED, "'Replace'");
    assert_refused(bpe("\"pre_tokenizer\":{\"type\":\"ByteLevel\"},", ""), TIM_E_UNSUPPORTED, "'ByteLevel'");
    assert_refused(bpe("", "\"dropout\":0.5,"), TIM_E_UNSUPPORTED, "'dropout'");
    assert_refused(bpe("\"added_tokens\":[{\"id\":9,\"content\":\"w\",\"single_word\":true}],", ""), TIM_E_UNSUPPORTED, "'w'");
    assert_refused("{\"model\":{\"type\":\"WordPiece\"}}", TIM_E_UNSUPPORTED, "'WordPiece'");
}

static void test_json_damage_is_named(void **state) {
    (void)state;
    char long_piece[400];
    snprintf(long_piece, sizeof long_piece, "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"%0257d\",0]]}}", 0);
    assert_refused(long_piece, TIM_E_FORMAT, "a piece of 257 bytes");
    assert_refused("{", TIM_E_FORMAT, "not valid JSON");
    assert_refused("{}", TIM_E_FORMAT, "(none)");
    assert_refused(bpe("\"added_tokens\":[{\"id\":-1,\"content\":\"w\"}],", ""), TIM_E_FORMAT, "the id of 'w'");
    assert_refused(bpe("\"added_tokens\":[{\"id\":99999999,\"content\":\"w\"}],", ""), TIM_E_FORMAT, "the id of 'w'");
    assert_refused(bpe("\"added_tokens\":[{\"id\":1,\"content\":\"w\"}],", ""), TIM_E_FORMAT, "'a' and 'w'");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", TIM_E_FORMAT, "merge 0, 'a' and 'b'");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[3]}}", TIM_E_FORMAT, "merge 0");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"unk_token\":\"u\",\"merges\":[]}}", TIM_E_FORMAT, "'u'");
    assert_refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", TIM_E_FORMAT, "entry 0");
    assert_refused("{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",0]]}}", TIM_E_FORMAT,
                   "'unk_id' is 7, and the vocabulary has 1 pieces");
}

/* Vocabulary and merges are read without a document: escapes, order and damage as in one. */
static void test_json_lists_are_read_as_json(void **state) {
    (void)state;
    assert_ids("{ \"model\" : { \"merges\" : [ [ \"a\" , \"\\u00e9\" ] ] , \"vocab\" : { \"a\" : 0 , \"\xC3\xA9\" : 1.0e0,"
               "\"\\\"\":2,\"\\ud83d\\ude42\":3,\"a\xC3\xA9\":4} ,\n\"type\":\"BPE\"}}",
               "a\xC3\xA9\"\xF0\x9F\x99\x82", "4 2 3");
    static const char *const vocabs[] = {"{\"a\" 0}",       "{\"a\":0,}",       "{\"a\":}",         "{\"a\":0 \"b\":1}",
                                         "{\"\\ud83d\":0}", "{\"a\\u0000\":0}", "{\"\xFF\":0}",     "{\"a\":01x}",
                                         "{\"a\nb\":0}",    "{\"a\":1e400}",    "{\"a\":0.5}",      "{\"a\":4194304}",
                                         "{a:0}",           "{\"a\":0]",        "{\"a\":0,\"a\":1}"};
    char json[256];
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        snprintf(json, sizeof json, "{\"model\":{\"type\":\"BPE\",\"vocab\":%s,\"merges\":[]}}", vocabs[i]);
        assert_refused(json, TIM_E_FORMAT, "");
    }
    static const char *const merges[] = {"[[\"a\"]]", "[[\"a\",\"a\",\"a\"]]", "[\"a a a\"]", "[[\"\",\"\"]]", "[\"a a\",]",
                                         "[\"aa\"]"};
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        snprintf(json, sizeof json, "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},\"merges\":%s}}", merges[i]);
        assert_refused(json, TIM_E_FORMAT, "");
    }
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"vocab\":{\"b\":0},\"merges\":[]}}", TIM_E_FORMAT,
                   "duplicate");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}", TIM_E_FORMAT, "not valid JSON at byte");
    assert_refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},}", TIM_E_FORMAT, "not valid JSON");
}

/* Texts whose hashes (FNV-1a, mixed) fall into one slot: those without a place in the table are found all the same. */
static void test_pieces_with_one_hash_are_all_found(void **state) {
    (void)state;
    enum { COUNT = 60, SLOTS = 128 };
    char texts[COUNT + 1][12];
    TimPieces pieces = {0};
    for (int count = 0, number = 0; count <= COUNT; number++) {
        snprintf(texts[count], sizeof *texts, "%d", number);
        uint64_t hash = 0xcbf29ce484222325U;
        for (const char *c = texts[count]; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3U;
        if ((hash ^ hash >> 29) % SLOTS == 5) count++;
    }
    for (int i = 0; i < COUNT; i++) assert_ok(tim_pieces_add(&pieces, texts[i], strlen(texts[i]), i, &err));
    assert_true(tim_pieces_sort(&pieces));
    assert_ok(tim_pieces_index(&pieces, &err));
    assert_int_equal(pieces.slot_count, SLOTS);
    for (int i = 0; i < COUNT; i++) assert_int_equal(tim_pieces_find(&pieces, texts[i], strlen(texts[i])), i);
    assert_int_equal(tim_pieces_find(&pieces, texts[COUNT], strlen(texts[COUNT])), -1);
    assert_int_equal(tim_pieces_find(&pieces, "", 0), -1);
    tim_pieces_done(&pieces);
}

/* Added tokens that rules work on for hours, in a file of a few MB. */
static void test_json_work_of_added_tokens_is_bounded(void **state) {
    (void)state;
    enum { TOKENS = 5000, BYTES = 1200 * TOKENS };
    char *json = malloc(BYTES + 4096);
    assert_non_null(json);
    char *at = json + sprintf(json, "{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"b\"},\"added_tokens\":[");
    for (int i = 0; i < TOKENS; i++)
        at += sprintf(at, "%s{\"id\":%d,\"normalized\":true,\"content\":\"%01000d\"}", i ? "," : "", i + 1, i);
    strcpy(at, "],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}");
    assert_refused(json, TIM_E_FORMAT, "5000000 bytes of added tokens to normalize");
    free(json);
    char rule[256];
    snprintf(rule, sizeof rule, "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"%065d\"},", 0);
    assert_refused(bpe(rule, ""), TIM_E_UNSUPPORTED, "'Prepend'");
}

/* 32 rules that double a text would make 4 billion letters of one. */
static void test_json_growing_rules_end(void **state) {
    (void)state;
    char rules[4096] = "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[";
    for (int i = 0; i < 32; i++)
        snprintf(rules + strlen(rules), sizeof rules - strlen(rules),
                 "%s{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aa\"}", i ? "," : "");
    strcat(rules, "]},");
    char json[6000];
    snprintf(json, sizeof json, "{%s\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", rules);
    TimTokenizer *tokenizer;
    TimTokenIds ids = {0};
    assert_ok(tim_tokenizer_open(&tokenizer, put_file("tokenizer.json", json, strlen(json)), &err));
    assert_int_equal(tim_tokenizer_encode(tokenizer, "a", 1, &ids, &err), TIM_E_FORMAT);
    assert_says("makes 2048 bytes of a text of 1");
    tim_token_ids_done(&ids);
    tim_tokenizer_close(tokenizer);
}

static void test_text_that_is_not_utf8_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"a\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE6\x9D"};
    static const char *const paths[] = {"tests/golden/tokenizer/bpe.model", "tests/golden/tokenizer/bpe_tokenizer.json"};
    for (size_t i = 0; i < 2; i++) {
        TimTokenizer *tokenizer;
        TimTokenIds ids = {0};
        assert_ok(tim_tokenizer_open(&tokenizer, paths[i], &err));
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
            assert_int_equal(tim_tokenizer_encode(tokenizer, texts[j], strlen(texts[j]), &ids, &err), TIM_E_ARGUMENT);
            assert_says("not UTF-8");
        }
        assert_int_equal(ids.count, 0);
        assert_int_equal(tim_tokenizer_count(tokenizer), 700);
        assert_string_equal(tim_tokenizer_piece(tokenizer, 6), "\n");
        assert_null(tim_tokenizer_piece(tokenizer, -1));
        assert_null(tim_tokenizer_piece(tokenizer, 700));
        assert_int_equal(tim_tokenizer_bos(tokenizer), 2);
        assert_int_equal(tim_tokenizer_eos(tokenizer), 1);
        assert_int_equal(tim_tokenizer_pad(tokenizer), 0);
        assert_int_equal(tim_tokenizer_unk(tokenizer), 3);
        tim_tokenizer_close(tokenizer);
    }
}

static void test_folder_configuration_names_the_special_tokens(void **state) {
    (void)state;
    static const char config[] = "{\"bos_token\":null,\"eos_token\":{\"content\":\"ab\"},\"pad_token\":\"b\"}";
    const char *json = bpe("", "");
    TimTokenizer *tokenizer;
    put_file("tokenizer.json", json, strlen(json));
    put_file("tokenizer_config.json", config, strlen(config));
    assert_ok(tim_tokenizer_open(&tokenizer, folder, &err));
    assert_int_equal(tim_tokenizer_bos(tokenizer), -1);
    assert_int_equal(tim_tokenizer_eos(tokenizer), 3);
    assert_int_equal(tim_tokenizer_pad(tokenizer), 2);
    tim_tokenizer_close(tokenizer);
    static const char zero[] = "{\"eos_token\":\"ab\\u0000c\"}"; /* is not "ab" */
    put_file("tokenizer_config.json", zero, strlen(zero));
    assert_ok(tim_tokenizer_open(&tokenizer, folder, &err));
    assert_int_equal(tim_tokenizer_eos(tokenizer), -1);
    tim_tokenizer_close(tokenizer);
    /* what transformers writes where no length is set: int(1e30), more than 64 bits */
    static const char large[] = "{\"model_max_length\":1000000000000000019884624838656,\"eos_token\":\"ab\"}";
    put_file("tokenizer_config.json", large, strlen(large));
    assert_ok(tim_tokenizer_open(&tokenizer, folder, &err));
    assert_int_equal(tim_tokenizer_eos(tokenizer), 3);
    tim_tokenizer_close(tokenizer);
    put_file("tokenizer_config.json", "{", 1);
    assert_int_equal(tim_tokenizer_open(&tokenizer, folder, &err), TIM_E_FORMAT);
    assert_says("tokenizer_config.json");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    assert_int_equal(truncate(path, (16 << 20) + 1), 0);
    assert_int_equal(tim_tokenizer_open(&tokenizer, folder, &err), TIM_E_FORMAT);
    assert_says("tokenizer_config.json: 16777217 bytes; at most 16777216 are read");
    assert_int_equal(remove_folder(NULL), 0);
    assert_int_equal(tim_tokenizer_open(&tokenizer, folder, &err), TIM_E_IO);
    strcpy(folder, "/tmp/tim-test-XXXXXX");
    assert_int_equal(make_folder(NULL), 0);
    assert_int_equal(tim_tokenizer_open(&tokenizer, folder, &err), TIM_E_IO);
    assert_says("none of tokenizer.json");
}

/* ---- SentencePiece ---- */

/* A FuzzTarget. */
static int take_model(const uint8_t *data, size_t size) {
    static const char text[] = "a red cat  \xEF\xAC\x81 \xE6\x9D\xB1\xE4\xBA\xAC zebra\n\t<s> "
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    TimSentencepiece *model;
    TimTokenIds ids = {0};
    if (tim_sentencepiece_check(data, size) || tim_sentencepiece_new(&model, data, size, &err) != TIM_OK) return 0;
    (void)tim_sentencepiece_encode(model, text, sizeof text - 1, &ids, &err);
    for (size_t i = 0; i < ids.count; i++)
        if (ids.ids[i] < 0 || ids.ids[i] >= tim_sentencepiece_info(model).count) abort();
    tim_token_ids_done(&ids);
    tim_sentencepiece_free(model);
    return 1;
}

static void test_sentencepiece_damaged_models_keep_memory(void **state) {
    (void)state;
    static const char *const paths[] = {"tests/golden/tokenizer/bpe.model", "tests/golden/tokenizer/unigram.model"};
    static const size_t steps[] = {7, 4999};
    for (size_t i = 0; i < 2; i++) {
        size_t size = 0;
        uint8_t *data = read_whole(paths[i], &size);
        assert_non_null(data);
        assert_int_equal(replay_file(take_model, data, size, steps[i], 300), 1);
        free(data);
    }
    TimTokenizer *tokenizer;
    assert_int_equal(tim_tokenizer_open(&tokenizer, put_file("tokenizer.model", "\x0A\x7F", 2), &err), TIM_E_FORMAT);
    assert_says("tokenizer.model: it is not a whole SentencePiece model");
    assert_int_equal(tim_tokenizer_open(&tokenizer, put_file("tokenizer.model", "", 0), &err), TIM_E_FORMAT);
}

static void test_charsmap_that_leaves_itself_refused(void **state) {
    (void)state;
    enum { UNITS = 768 };
    uint32_t map[1 + UNITS + 66] = {4 * UNITS}; /* 'A' becomes "a": root, child and value */
    const char *text;
    TimCharsmap opened;
    map[1] = 256U << 10;
    map[1 + 0x100] = 0x80000000U; /* no zero byte begins anything */
    map[1 + 0x141] = 0x341U << 10 | 1U << 8 | 0x41U;
    map[1 + 0x200] = 0x80000000U;
    memcpy(&map[1 + UNITS], "a", 2);
    const size_t size = 4 * (1 + UNITS) + 2;
    assert_null(tim_charsmap_open(&opened, (const uint8_t *)map, size));
    assert_int_equal(tim_charsmap_find(&opened, "AB", 2, &text), 1);
    assert_string_equal(text, "a");
    assert_int_equal(tim_charsmap_find(&opened, "B", 1, &text), 0);
    memset(&map[1 + UNITS], 'a', TIM_CHARSMAP_MAX_TEXT);
    assert_null(tim_charsmap_open(&opened, (const uint8_t *)map, sizeof map));
    memset(&map[1 + UNITS], 'a', TIM_CHARSMAP_MAX_TEXT + 1);
    assert_non_null(strstr(tim_charsmap_open(&opened, (const uint8_t *)map, sizeof map), "more"));
    memcpy(&map[1 + UNITS], "a", 2);
    map[1 + 0x200] = 0x80000002U; /* a text behind the end */
    assert_non_null(tim_charsmap_open(&opened, (const uint8_t *)map, size));
    map[1 + 0x200] = 0x80000000U;
    map[1] = 768U << 10; /* children behind the end */
    assert_non_null(tim_charsmap_open(&opened, (const uint8_t *)map, size));
    map[1] = 256U << 10;
    assert_non_null(tim_charsmap_open(&opened, (const uint8_t *)map, size - 1)); /* the text does not end */
    map[0] = 4 * UNITS + 4;
    assert_non_null(tim_charsmap_open(&opened, (const uint8_t *)map, size));
}

/* 'A', "AA", "AAA", ... each become "a": `count` of them begin each other, which the library counts without looking at its room. */
static size_t nested_map(uint32_t *map, size_t count) {
    const size_t units = 256 * (count + 3);
    memset(map, 0, (1 + units + 1) * sizeof *map);
    map[0] = (uint32_t)(4 * units);
    size_t unit = 0;
    for (size_t i = 1; i <= count + 1; i++) {
        const size_t base = 256 * i; /* of the children of the sequence of i - 1 letters */
        map[1 + unit] = (uint32_t)(unit ^ base) << 10 | (i > 1) << 8 | (i > 1 ? 0x41U : 0);
        map[1 + base] = 0x80000000U; /* the value, and no zero byte goes on */
        unit = base ^ 0x41;
    }
    memcpy(&map[1 + units], "a", 2);
    return 4 * (1 + units) + 2;
}

static void test_charsmap_of_too_many_nested_sequences_refused(void **state) {
    (void)state;
    static uint32_t map[256 * 64];
    const char *text;
    TimCharsmap opened;
    size_t size = nested_map(map, TIM_CHARSMAP_MAX_NESTED);
    assert_null(tim_charsmap_open(&opened, (const uint8_t *)map, size));
    assert_int_equal(tim_charsmap_find(&opened, "AAAAB", 5, &text), 4);
    size = nested_map(map, TIM_CHARSMAP_MAX_NESTED + 1);
    assert_non_null(strstr(tim_charsmap_open(&opened, (const uint8_t *)map, size), "begin alike"));
    size = nested_map(map, 1);
    map[1 + 0x141] = (0x141U ^ 0x100U) << 10 | 0x41U; /* back to where it came from, without a value */
    assert_non_null(strstr(tim_charsmap_open(&opened, (const uint8_t *)map, size), "without end"));
}

/* The root is its own child by a zero byte and has a value: each zero byte of a text is one more sequence. */
static void test_charsmap_of_zero_bytes_without_end_refused(void **state) {
    (void)state;
    uint32_t map[1 + 256 + 75] = {4 * 256, 0x100};
    TimCharsmap opened;
    for (size_t i = 1; i < 256; i++) map[1 + i] = 0x80000000U;
    const char *wrong = tim_charsmap_open(&opened, (const uint8_t *)map, sizeof map);
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, "without end"));
}

/* A field's number as five bytes, of which the library drops the highest bits: field 3 to it, another one to a reader of 64
 * bits. */
static void test_charsmap_under_a_long_field_number_found(void **state) {
    (void)state;
    static const uint8_t model[] = {0x9A, 0x80, 0x80, 0x80, 0x10, 0x04, 0x12, 0x02, 'x', 'y'};
    assert_non_null(tim_sentencepiece_check(model, sizeof model));
}

/* Pieces "a", "aa", "aaa", ..., each the user's (type 4). */
static size_t nested_pieces(uint8_t *model, int count) {
    size_t at = 0;
    for (int i = 1; i <= count; i++) {
        const uint8_t head[] = {0x0A, (uint8_t)(i + 4), 0x0A, (uint8_t)i};
        memcpy(model + at, head, sizeof head);
        memset(model + at + 4, 'a', (size_t)i);
        model[at + 4 + (size_t)i] = 0x18, model[at + 5 + (size_t)i] = 4;
        at += 6 + (size_t)i;
    }
    return at;
}

static void test_sentencepiece_of_too_many_nested_pieces_refused(void **state) {
    (void)state;
    static uint8_t model[66 * 80];
    assert_null(tim_sentencepiece_check(model, nested_pieces(model, 64)));
    const char *wrong = tim_sentencepiece_check(model, nested_pieces(model, 65));
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, "pieces begin each other"));
    const size_t size = nested_pieces(model, 65);
    model[size - 1] = 1; /* an ordinary piece is not counted */
    assert_null(tim_sentencepiece_check(model, size));
    /* nor does a last piece hide among them whose type is one the library does not know, empty, or more than an int */
    static const uint8_t tails[][6] = {{0x18, 99}, {0x1A, 0}, {0x18, 0x84, 0x80, 0x80, 0x80, 0x10}};
    static const size_t sizes[] = {2, 2, 6};
    for (int i = 0; i < 3; i++) {
        const size_t all = nested_pieces(model, 65), last = all - 71; /* 6 + 65 bytes */
        const int instead = sizes[i] > 2;
        const size_t end = instead ? all - 2 : all;
        memcpy(model + end, tails[i], sizes[i]);
        model[last + 1] = (uint8_t)(model[last + 1] + (instead ? sizes[i] - 2 : sizes[i]));
        assert_non_null(tim_sentencepiece_check(model, end + sizes[i]));
    }
}

/* A model of <unk> and a piece of `length` times 'a', and what is to encode to `expected` when it is opened. */
static size_t model_of_long_piece(uint8_t *model, size_t length, const char *expected) {
    static const uint8_t unknown[] = {0x0A, 0x09, 0x0A, 5, '<', 'u', 'n', 'k', '>', 0x18, 2};
    size_t at = sizeof unknown;
    memcpy(model, unknown, sizeof unknown);
    const size_t inner = length + 3;
    const uint8_t head[] = {0x0A, (uint8_t)(0x80 | (inner & 0x7F)),  (uint8_t)(inner >> 7),
                            0x0A, (uint8_t)(0x80 | (length & 0x7F)), (uint8_t)(length >> 7)};
    memcpy(model + at, head, sizeof head), at += sizeof head;
    memset(model + at, 'a', length), at += length;
    if (!expected) return at;
    const size_t size = strlen(expected);
    const uint8_t sample[] = {0x22, (uint8_t)(size + 7), 0x0A, (uint8_t)(size + 5), 0x0A, 1, 'b', 0x12, (uint8_t)size};
    memcpy(model + at, sample, sizeof sample), at += sizeof sample;
    memcpy(model + at, expected, size);
    return at + size;
}

/* The library makes its map with a call within a call for each byte: a hundred thousand of them overflow the stack. */
static void test_sentencepiece_of_long_pieces_refused(void **state) {
    (void)state;
    static uint8_t model[2048];
    assert_null(tim_sentencepiece_check(model, model_of_long_piece(model, 1024, NULL)));
    const char *wrong = tim_sentencepiece_check(model, model_of_long_piece(model, 1025, NULL));
    assert_non_null(wrong);
    assert_non_null(strstr(wrong, "longer than 1024 bytes"));
}

/* The library would encode what is there to test it, and print what a file says to whoever opens it. */
static void test_sentencepiece_is_not_given_texts_to_test(void **state) {
    (void)state;
    static uint8_t model[2048], untested[2048];
    const size_t plain = model_of_long_piece(model, 300, NULL), tested = model_of_long_piece(model, 300, "\033[31mx");
    assert_true(tested > plain);
    assert_null(tim_sentencepiece_check(model, tested));
    assert_int_equal(tim_sentencepiece_untested(untested, model, tested), plain);
    assert_memory_equal(untested, model, plain);
    TimSentencepiece *opened;
    assert_int_equal(tim_sentencepiece_new(&opened, untested, plain, &err), TIM_OK);
    tim_sentencepiece_free(opened);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_lowest_rank_then_leftmost_is_merged_first),
        cmocka_unit_test(test_bpe_unknown_characters_are_unk_or_bytes),
        cmocka_unit_test(test_added_tokens_leftmost_longest_are_taken),
        cmocka_unit_test(test_unigram_best_sum_is_taken),
        cmocka_unit_test(test_metaspace_first_is_where_the_text_starts),
        cmocka_unit_test(test_json_what_is_not_known_is_refused_by_name),
        cmocka_unit_test(test_json_damage_is_named),
        cmocka_unit_test(test_json_lists_are_read_as_json),
        cmocka_unit_test(test_pieces_with_one_hash_are_all_found),
        cmocka_unit_test(test_json_work_of_added_tokens_is_bounded),
        cmocka_unit_test(test_json_growing_rules_end),
        cmocka_unit_test(test_text_that_is_not_utf8_refused),
        cmocka_unit_test(test_folder_configuration_names_the_special_tokens),
        cmocka_unit_test(test_sentencepiece_damaged_models_keep_memory),
        cmocka_unit_test(test_charsmap_that_leaves_itself_refused),
        cmocka_unit_test(test_charsmap_of_too_many_nested_sequences_refused),
        cmocka_unit_test(test_charsmap_of_zero_bytes_without_end_refused),
        cmocka_unit_test(test_charsmap_under_a_long_field_number_found),
        cmocka_unit_test(test_sentencepiece_of_too_many_nested_pieces_refused),
        cmocka_unit_test(test_sentencepiece_of_long_pieces_refused),
        cmocka_unit_test(test_sentencepiece_is_not_given_texts_to_test),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
