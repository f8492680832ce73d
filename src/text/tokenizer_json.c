#include "text/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/json_scan.h"
#include "text/rules.h"
#include "text/unigram.h"

enum {
    MAX_ID = (4 << 20) - 1,
    MAX_FILE = 128 << 20 /* bytes; Gemma's has 33 MB */,
    MAX_DOCUMENT = 16 << 20 /* of them without vocabulary and merges */,
    MAX_PIECE = 256 /* of Unigram, whose time grows with it */,
    MAX_ADDED = 1024 /* bytes of an added token, likewise */,
    MAX_NORMALIZING = 4 << 20 /* bytes of added tokens times rules that they go through */
};

/* A value of the file. */
typedef struct Span {
    const char *begin, *end; /* NULL: not there */
} Span;

/* A token that is found in the text before the model sees it. */
typedef struct Added {
    const char *content;
    size_t size;
    TimBuffer normalized; /* what is looked for, where that is not the content */
    bool is_normalized;   /* looked for in the normalized text */
    bool left, right;     /* takes the white space before it, behind it */
    int32_t id;
} Added;

struct TimJsonTokenizer {
    size_t document_bytes, texts_bytes; /* of which the document was made; of the texts */
    json_t *document;                   /* the file without vocabulary and merges; owns the texts of added tokens and rules */
    char *texts;                        /* of the vocabulary, each with its end */
    TimPieces vocab;                    /* of the model */
    const char **by_id;                 /* (count) */
    size_t count;
    Added *added; /* (added_count) */
    size_t added_count;
    TimPieces raw, normalized; /* the added tokens as they are looked for; an id is a place in `added` */
    TimRules normalizer, pre_tokenizer;
    bool is_bpe;
    TimBpe bpe;
    TimUnigram unigram;
    double *scores; /* of a unigram's pieces */
};

/* ---- pieces ---- */

static bool take_id(double number, int32_t *id) {
    if (!(number >= 0 && number <= MAX_ID)) return false;
    *id = (int32_t)number;
    return *id == number;
}

static bool read_id(const json_t *value, int32_t *id) {
    return json_is_integer(value) && take_id((double)json_integer_value(value), id);
}

static TimStatus bad_id(const char *piece, size_t size, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "the id of '%.*s' is none from 0 to %d; is the file damaged?", size < 80 ? (int)size : 80,
                    piece, MAX_ID);
}

/* Adds the text that was scanned; *place, where it is kept, moves on behind it. */
static TimStatus add_piece(TimJsonTokenizer *t, const TimBuffer *text, char **place, int32_t id, TimError *err) {
    if (text->count > 0) memcpy(*place, text->bytes, text->count);
    (*place)[text->count] = 0;
    TIM_TRY(tim_pieces_add(&t->vocab, *place, text->count, id, err));
    *place += text->count + 1;
    return TIM_OK;
}

/* The vocabulary of a BPE: piece to id. */
static TimStatus read_vocab_object(TimJsonTokenizer *t, TimJsonScan *scan, TimError *err) {
    char *place = t->texts;
    (void)tim_scan_open(scan, '{');
    for (bool first = true; tim_scan_entry(scan, '}', first); first = false) {
        double number;
        int32_t id;
        if (!tim_scan_key(scan)) return TIM_OK;
        const TimBuffer *piece = &scan->text;
        const bool has_zero = piece->count > 0 && memchr(piece->bytes, 0, piece->count);
        if (has_zero || !tim_scan_number(scan, &number) || !take_id(number, &id))
            return bad_id(piece->count > 0 ? piece->bytes : "", piece->count, err);
        TIM_TRY(add_piece(t, piece, &place, id, err));
    }
    return TIM_OK;
}

/* The vocabulary of a unigram: pairs of piece and score; the place is the id. */
static TimStatus read_vocab_array(TimJsonTokenizer *t, TimJsonScan *scan, TimError *err) {
    char *place = t->texts;
    size_t capacity = 0;
    (void)tim_scan_open(scan, '[');
    for (bool first = true; tim_scan_entry(scan, ']', first); first = false) {
        const size_t i = t->vocab.count;
        TIM_TRY(tim_grow(&t->scores, &capacity, i, sizeof *t->scores, "the scores of a tokenizer", err));
        const bool good = tim_scan_open(scan, '[') && tim_scan_entry(scan, ']', true) && tim_scan_text(scan) &&
                          tim_scan_entry(scan, ']', false) && tim_scan_number(scan, &t->scores[i]) &&
                          !tim_scan_entry(scan, ']', false);
        if (!good || !scan->good || i > MAX_ID)
            return tim_fail(err, TIM_E_FORMAT, "entry %zu of the vocabulary is no piece with its score; is the file damaged?", i);
        TIM_TRY(add_piece(t, &scan->text, &place, (int32_t)i, err));
    }
    return TIM_OK;
}

/* A text in the file is longer than what it says, by its quotes: so all of them have room in as many bytes. */
static TimStatus scan_vocab(TimJsonTokenizer *t, Span vocab, TimError *err) {
    TimJsonScan scan = tim_scan_of(vocab.begin, vocab.end);
    t->texts_bytes = (size_t)(vocab.end - vocab.begin);
    TIM_TRY(tim_new(&t->texts, t->texts_bytes, 1, "the vocabulary of a tokenizer", err));
    TimStatus status = t->is_bpe ? read_vocab_object(t, &scan, err) : read_vocab_array(t, &scan, err);
    if (status == TIM_OK) status = tim_buffer_check(&scan.text, "a piece", err);
    if (status == TIM_OK && !scan.good)
        status = tim_fail(err, TIM_E_FORMAT, "the vocabulary is not valid JSON behind its piece %zu; is the file damaged?",
                          t->vocab.count);
    tim_scan_done(&scan);
    return status;
}

static TimStatus read_vocab(TimJsonTokenizer *t, Span vocab, TimError *err) {
    if (!vocab.begin || *vocab.begin != (t->is_bpe ? '{' : '['))
        return tim_fail(err, TIM_E_FORMAT, "the model has no 'vocab' as its type has one; is the file damaged?");
    TIM_TRY(scan_vocab(t, vocab, err));
    if (tim_pieces_sort(&t->vocab)) return tim_pieces_index(&t->vocab, err);
    return tim_fail(err, TIM_E_FORMAT, "the vocabulary has a piece twice; is the file damaged?");
}

static TimStatus set_piece(TimJsonTokenizer *t, int32_t id, const char *piece, TimError *err) {
    if (t->by_id[id] && strcmp(t->by_id[id], piece) != 0)
        return tim_fail(err, TIM_E_FORMAT, "'%.80s' and '%.80s' have the same id %d; is the file damaged?", t->by_id[id], piece,
                        id);
    t->by_id[id] = piece;
    return TIM_OK;
}

static TimStatus list_pieces(TimJsonTokenizer *t, TimError *err) {
    for (size_t i = 0; i < t->vocab.count; i++)
        if ((size_t)t->vocab.items[i].id >= t->count) t->count = (size_t)t->vocab.items[i].id + 1;
    for (size_t i = 0; i < t->added_count; i++)
        if ((size_t)t->added[i].id >= t->count) t->count = (size_t)t->added[i].id + 1;
    TIM_TRY(tim_new(&t->by_id, t->count, sizeof *t->by_id, "the pieces of a tokenizer", err));
    for (size_t i = 0; i < t->vocab.count; i++) TIM_TRY(set_piece(t, t->vocab.items[i].id, t->vocab.items[i].text, err));
    for (size_t i = 0; i < t->added_count; i++) TIM_TRY(set_piece(t, t->added[i].id, t->added[i].content, err));
    return TIM_OK;
}

/* ---- added tokens ---- */

static TimStatus read_added_one(Added *added, const json_t *entry, TimError *err) {
    const json_t *content = json_object_get(entry, "content");
    if (!json_is_string(content)) return tim_fail(err, TIM_E_FORMAT, "an added token has no 'content'; is the file damaged?");
    added->content = json_string_value(content);
    added->size = json_string_length(content);
    if (added->size > MAX_ADDED)
        return tim_fail(err, TIM_E_FORMAT, "the added token '%.40s...' has %zu bytes; at most %d are known", added->content,
                        added->size, MAX_ADDED);
    added->is_normalized = json_is_true(json_object_get(entry, "normalized"));
    added->left = json_is_true(json_object_get(entry, "lstrip"));
    added->right = json_is_true(json_object_get(entry, "rstrip"));
    if (json_is_true(json_object_get(entry, "single_word")))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the added token '%.80s' is a 'single_word', which is not known here; give the encoder's "
                        "SentencePiece model",
                        added->content);
    return read_id(json_object_get(entry, "id"), &added->id) ? TIM_OK : bad_id(added->content, added->size, err);
}

static TimStatus read_added(TimJsonTokenizer *t, const json_t *list, TimError *err) {
    if (!list || json_is_null(list)) return TIM_OK;
    if (!json_is_array(list)) return tim_fail(err, TIM_E_FORMAT, "'added_tokens' is no list; is the file damaged?");
    TIM_TRY(tim_new(&t->added, json_array_size(list), sizeof *t->added, "the added tokens", err));
    for (size_t i = 0; i < json_array_size(list); i++)
        TIM_TRY(read_added_one(&t->added[t->added_count++], json_array_get(list, i), err));
    return TIM_OK;
}

/* What is looked for; a token that becomes nothing is not. */
static TimStatus index_added_one(TimJsonTokenizer *t, size_t place, TimError *err) {
    Added *added = &t->added[place];
    if (!added->is_normalized)
        return added->size ? tim_pieces_add(&t->raw, added->content, added->size, (int32_t)place, err) : TIM_OK;
    tim_buffer_add(&added->normalized, added->content, added->size);
    TIM_TRY(tim_rules_normalize(&t->normalizer, &added->normalized, err));
    const TimBuffer *text = &added->normalized;
    return text->count ? tim_pieces_add(&t->normalized, text->bytes, text->count, (int32_t)place, err) : TIM_OK;
}

/* A file of a few MB could else name enough of them for hours. */
static TimStatus check_normalizing(const TimJsonTokenizer *t, TimError *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < t->added_count; i++) bytes += t->added[i].is_normalized ? t->added[i].size : 0;
    if (bytes * (size_t)t->normalizer.count <= MAX_NORMALIZING) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%zu bytes of added tokens to normalize by %d rules; at most %d by one are known", bytes,
                    t->normalizer.count, MAX_NORMALIZING);
}

static TimStatus index_added(TimJsonTokenizer *t, TimError *err) {
    TIM_TRY(check_normalizing(t, err));
    for (size_t i = 0; i < t->added_count; i++) TIM_TRY(index_added_one(t, i, err));
    if (tim_pieces_sort(&t->raw) && tim_pieces_sort(&t->normalized)) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "an added token is there twice; is the file damaged?");
}

/* ---- models ---- */

/* Pieces <0x00> to <0xFF>. */
static void find_bytes(const TimJsonTokenizer *t, int32_t bytes[256]) {
    for (int i = 0; i < 256; i++) {
        char piece[8];
        const int size = snprintf(piece, sizeof piece, "<0x%02X>", i);
        bytes[i] = tim_pieces_find(&t->vocab, piece, (size_t)size);
    }
}

static bool is_nothing(const json_t *value) {
    return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

static bool keep_text(const TimJsonScan *scan, TimBuffer *out) {
    out->count = 0;
    tim_buffer_add(out, scan->text.bytes, scan->text.count);
    return !out->failed;
}

/* The two sides of a merge, one after the other; *split is where the second begins: ["a", "b"], or "a b" in files before tokenizers
 * 0.20. */
static bool scan_merge(TimJsonScan *scan, TimBuffer *joined, size_t *split) {
    if (tim_scan_next(scan) == '[') {
        if (!tim_scan_open(scan, '[') || !tim_scan_entry(scan, ']', true) || !tim_scan_text(scan) || !keep_text(scan, joined))
            return false;
        *split = joined->count;
        if (!tim_scan_entry(scan, ']', false) || !tim_scan_text(scan)) return false;
        tim_buffer_add(joined, scan->text.bytes, scan->text.count);
        return !tim_scan_entry(scan, ']', false) && scan->good && joined->count > 0;
    }
    if (!tim_scan_text(scan) || !keep_text(scan, joined) || joined->count == 0) return false;
    char *space = memchr(joined->bytes, ' ', joined->count), *end = joined->bytes + joined->count;
    if (!space || memchr(space + 1, ' ', (size_t)(end - space) - 1)) return false;
    *split = (size_t)(space - joined->bytes);
    memmove(space, space + 1, (size_t)(end - space) - 1);
    joined->count--;
    return true;
}

static TimStatus read_merge(const TimJsonTokenizer *t, TimMerge *merge, TimJsonScan *scan, size_t rank, TimBuffer *joined,
                            TimError *err) {
    size_t split;
    if (!scan_merge(scan, joined, &split)) return tim_fail(err, TIM_E_FORMAT, "merge %zu is no pair; is the file damaged?", rank);
    TIM_TRY(tim_buffer_check(joined, "a merge", err));
    const char *right = joined->bytes + split;
    const size_t right_size = joined->count - split;
    *merge = (TimMerge){.left = tim_pieces_find(&t->vocab, joined->bytes, split),
                        .right = tim_pieces_find(&t->vocab, right, right_size),
                        .id = tim_pieces_find(&t->vocab, joined->bytes, joined->count),
                        .rank = (uint32_t)rank};
    if (merge->left >= 0 && merge->right >= 0 && merge->id >= 0) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT,
                    "merge %zu, '%.*s' and '%.*s', is of pieces that are not in the vocabulary; is the file damaged?", rank,
                    (int)(split < 40 ? split : 40), joined->bytes, (int)(right_size < 40 ? right_size : 40), right);
}

static TimStatus scan_merges(TimJsonTokenizer *t, TimJsonScan *scan, TimBuffer *joined, TimError *err) {
    size_t capacity = 0;
    (void)tim_scan_open(scan, '[');
    for (bool first = true; tim_scan_entry(scan, ']', first); first = false) {
        const size_t rank = t->bpe.merge_count;
        TIM_TRY(tim_grow(&t->bpe.merges, &capacity, rank, sizeof *t->bpe.merges, "the merges of a tokenizer", err));
        TIM_TRY(read_merge(t, &t->bpe.merges[rank], scan, rank, joined, err));
        t->bpe.merge_count++;
    }
    if (scan->good) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the merges are not valid JSON behind merge %zu; is the file damaged?", t->bpe.merge_count);
}

static TimStatus read_merges(TimJsonTokenizer *t, Span merges, TimError *err) {
    if (!merges.begin || *merges.begin != '[')
        return tim_fail(err, TIM_E_FORMAT, "the model has no list of 'merges'; is the file damaged?");
    TimJsonScan scan = tim_scan_of(merges.begin, merges.end);
    TimBuffer joined = {0};
    const TimStatus status = scan_merges(t, &scan, &joined, err);
    tim_buffer_done(&joined);
    tim_scan_done(&scan);
    TIM_TRY(status);
    return tim_bpe_sort(&t->bpe) ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "a merge is there twice; is the file damaged?");
}

static TimStatus read_bpe(TimJsonTokenizer *t, const json_t *model, Span merges, TimError *err) {
    static const char *const extras[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        if (!is_nothing(json_object_get(model, extras[i])))
            return tim_fail(err, TIM_E_UNSUPPORTED,
                            "the model has a '%s', which is not known here; give the encoder's SentencePiece model", extras[i]);
    const json_t *unk = json_object_get(model, "unk_token");
    t->bpe.vocab = &t->vocab;
    t->bpe.unk = json_is_string(unk) ? tim_pieces_find(&t->vocab, json_string_value(unk), json_string_length(unk)) : -1;
    if (json_is_string(unk) && t->bpe.unk < 0)
        return tim_fail(err, TIM_E_FORMAT, "the 'unk_token' '%.80s' is not in the vocabulary; is the file damaged?",
                        json_string_value(unk));
    t->bpe.byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    t->bpe.fuse_unk = json_is_true(json_object_get(model, "fuse_unk"));
    t->bpe.whole_pieces = json_is_true(json_object_get(model, "ignore_merges"));
    find_bytes(t, t->bpe.bytes);
    return read_merges(t, merges, err);
}

static TimStatus read_unigram(TimJsonTokenizer *t, const json_t *model, TimError *err) {
    static const double penalty = 10; /* an unknown character is that much worse than the worst piece */
    const json_t *unk = json_object_get(model, "unk_id");
    double least = 0;
    for (size_t i = 0; i < t->vocab.count; i++)
        if (t->vocab.items[i].size > MAX_PIECE)
            return tim_fail(err, TIM_E_FORMAT, "a piece of %zu bytes, '%.40s...'; at most %d are read; is the file damaged?",
                            t->vocab.items[i].size, t->vocab.items[i].text, MAX_PIECE);
    for (size_t i = 0; i < t->vocab.count; i++)
        if (i == 0 || t->scores[i] < least) least = t->scores[i];
    t->unigram = (TimUnigram){.vocab = &t->vocab, .scores = t->scores, .unk_score = least - penalty, .unk = -1};
    t->unigram.byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    find_bytes(t, t->unigram.bytes);
    if (!unk || json_is_null(unk)) return TIM_OK;
    if (!read_id(unk, &t->unigram.unk)) return bad_id("unk_id", 6, err);
    if ((size_t)t->unigram.unk < t->vocab.count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "'unk_id' is %d, and the vocabulary has %zu pieces; is the file damaged?",
                    (int)t->unigram.unk, t->vocab.count);
}

/* ---- the file ---- */

static TimStatus read_type(TimJsonTokenizer *t, const json_t *model, TimError *err) {
    const char *type = json_string_value(json_object_get(model, "type"));
    t->is_bpe = type && strcmp(type, "BPE") == 0;
    if (t->is_bpe || (type && strcmp(type, "Unigram") == 0)) return TIM_OK;
    return tim_fail(err, type ? TIM_E_UNSUPPORTED : TIM_E_FORMAT,
                    "its model is of type '%.80s', and BPE and Unigram are read; is it the tokenizer.json of a text encoder?",
                    type ? type : "(none)");
}

/* Where the model's vocabulary and merges stand, which are nine tenths of a file. What else is wrong with it the document's reader
 * says. */
static void find_in_model(TimJsonScan *scan, Span *vocab, Span *merges) {
    (void)tim_scan_open(scan, '{');
    for (bool first = true; tim_scan_entry(scan, '}', first); first = false) {
        if (!tim_scan_key(scan)) return;
        Span *found = tim_scan_is(scan, "vocab") ? vocab : tim_scan_is(scan, "merges") ? merges : NULL;
        (void)tim_scan_next(scan);
        const char *begin = scan->at;
        if (tim_scan_skip(scan) && found) *found = (Span){begin, scan->at};
    }
}

static TimStatus find_lists(const char *bytes, size_t size, Span *vocab, Span *merges, TimError *err) {
    TimJsonScan scan = tim_scan_of(bytes, bytes + size);
    (void)tim_scan_open(&scan, '{');
    for (bool first = true; tim_scan_entry(&scan, '}', first); first = false) {
        if (!tim_scan_key(&scan)) break;
        if (tim_scan_is(&scan, "model") && tim_scan_next(&scan) == '{')
            find_in_model(&scan, vocab, merges);
        else
            (void)tim_scan_skip(&scan);
    }
    const TimStatus status = tim_buffer_check(&scan.text, "a key", err);
    tim_scan_done(&scan);
    if (status != TIM_OK || scan.good) return status;
    return tim_fail(err, TIM_E_FORMAT, "not valid JSON at byte %zu; is the download complete?", (size_t)(scan.at - bytes));
}

/* The document with a 0 in place of each of the two. */
static TimStatus parse_rest(TimJsonTokenizer *t, const char *bytes, size_t size, const Span spans[2], TimError *err) {
    const bool swapped = spans[0].begin > spans[1].begin;
    TimBuffer rest = {0};
    const char *from = bytes;
    json_error_t cause;
    for (int i = 0; i < 2; i++) {
        const Span span = spans[swapped ? 1 - i : i];
        if (!span.begin) continue;
        tim_buffer_add(&rest, from, (size_t)(span.begin - from));
        tim_buffer_text(&rest, "0");
        from = span.end;
    }
    tim_buffer_add(&rest, from, (size_t)(bytes + size - from));
    TimStatus status = tim_buffer_check(&rest, "a tokenizer", err);
    if (status == TIM_OK && rest.count > MAX_DOCUMENT)
        status =
            tim_fail(err, TIM_E_FORMAT, "%zu bytes beside vocabulary and merges; at most %d are read", rest.count, MAX_DOCUMENT);
    if (status == TIM_OK) t->document = json_loadb(rest.bytes, rest.count, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &cause);
    t->document_bytes = rest.count;
    tim_buffer_done(&rest);
    if (status != TIM_OK || t->document) return status;
    return tim_fail(err, json_error_code(&cause) == json_error_out_of_memory ? TIM_E_MEMORY : TIM_E_FORMAT,
                    "not valid JSON: %s; is the download complete?", cause.text);
}

static TimStatus read_document(TimJsonTokenizer *t, Span vocab, Span merges, TimError *err) {
    const json_t *model = json_object_get(t->document, "model");
    TIM_TRY(read_type(t, model, err));
    TIM_TRY(tim_rules_read_normalizer(&t->normalizer, json_object_get(t->document, "normalizer"), err));
    TIM_TRY(tim_rules_read_pre_tokenizer(&t->pre_tokenizer, json_object_get(t->document, "pre_tokenizer"), err));
    TIM_TRY(read_vocab(t, vocab, err));
    TIM_TRY(read_added(t, json_object_get(t->document, "added_tokens"), err));
    TIM_TRY(list_pieces(t, err));
    TIM_TRY(index_added(t, err));
    return t->is_bpe ? read_bpe(t, model, merges, err) : read_unigram(t, model, err);
}

TimStatus tim_json_tokenizer_new(TimJsonTokenizer **tokenizer, const uint8_t *bytes, size_t size, TimError *err) {
    const char *file = (const char *)bytes;
    Span lists[2] = {{NULL, NULL}, {NULL, NULL}};
    TimJsonTokenizer *t;
    *tokenizer = NULL;
    if (size > MAX_FILE) return tim_fail(err, TIM_E_FORMAT, "a tokenizer of %zu bytes; at most %d are read", size, MAX_FILE);
    TIM_TRY(find_lists(file, size, &lists[0], &lists[1], err));
    TIM_TRY(tim_new(&t, 1, sizeof *t, "a tokenizer", err));
    TimStatus status = parse_rest(t, file, size, lists, err);
    if (status == TIM_OK) status = read_document(t, lists[0], lists[1], err);
    if (status == TIM_OK)
        *tokenizer = t;
    else
        tim_json_tokenizer_free(t);
    return status;
}

size_t tim_json_tokenizer_bytes(const TimJsonTokenizer *t) {
    enum { PER_BYTE = 20 }; /* of a document of added tokens */
    return t->document_bytes * PER_BYTE + t->texts_bytes + t->vocab.capacity * sizeof *t->vocab.items +
           t->vocab.slot_count * sizeof *t->vocab.slots + t->bpe.merge_count * sizeof *t->bpe.merges +
           t->count * (sizeof *t->by_id + (t->scores ? sizeof *t->scores : 0)) + t->added_count * sizeof *t->added;
}

void tim_json_tokenizer_free(TimJsonTokenizer *t) {
    if (!t) return;
    for (size_t i = 0; i < t->added_count; i++) tim_buffer_done(&t->added[i].normalized);
    tim_free(t->added);
    tim_pieces_done(&t->raw);
    tim_pieces_done(&t->normalized);
    tim_pieces_done(&t->vocab);
    tim_rules_done(&t->normalizer);
    tim_rules_done(&t->pre_tokenizer);
    tim_free(t->bpe.merges);
    tim_free(t->scores);
    tim_free(t->by_id);
    tim_free(t->texts);
    json_decref(t->document);
    tim_free(t);
}

/* ---- encoding ---- */

/* A text that is cut at the added tokens it has. */
typedef struct Cut {
    const TimJsonTokenizer *tokenizer;
    TimTokenIds *ids;
    bool first; /* nothing came before this text */
    TimError *err;
} Cut;

/* The longest of `tokens` that the text begins with; NULL when there is none. */
static const Added *match(const TimJsonTokenizer *t, const TimPieces *tokens, const char *text, size_t size) {
    const TimPiece *found = NULL;
    TimPieceRange range = tim_pieces_all(tokens);
    for (size_t i = 0; i < size && tim_pieces_narrow(tokens, &range, text[i]); i++) {
        const TimPiece *here = tim_pieces_here(tokens, &range);
        if (here) found = here;
    }
    return found ? &t->added[found->id] : NULL;
}

static size_t matched_size(const Added *added) {
    return added->is_normalized ? added->normalized.count : added->size;
}

/* Where the white space that ends at `end` begins, not before `begin`. */
static size_t space_before(const char *text, size_t begin, size_t end) {
    size_t from = end;
    uint32_t code;
    for (size_t at = end; at > begin; at--) {
        const size_t bytes = tim_utf8_next(text + at - 1, from - at + 1, &code);
        if (bytes == 0 && from - at + 1 < 4) continue; /* inside of a character */
        if (bytes != from - at + 1 || !tim_is_space(code)) break;
        from = at - 1;
    }
    return from;
}

static size_t space_behind(const char *text, size_t at, size_t size) {
    uint32_t code;
    for (size_t bytes; (bytes = tim_utf8_next(text + at, size - at, &code)) > 0 && tim_is_space(code);) at += bytes;
    return at;
}

/* What to do with a text between added tokens. */
typedef TimStatus (*Between)(Cut *cut, const char *text, size_t size);

static TimStatus between(Cut *cut, Between work, const char *text, size_t size) {
    if (size == 0) return TIM_OK;
    const TimStatus status = work(cut, text, size);
    cut->first = false;
    return status;
}

/* Adds the ids of the tokens that the text has, the leftmost and longest, and has `work` done with what lies between them. */
static TimStatus cut_at_added(Cut *cut, const TimPieces *tokens, const char *text, size_t size, Between work) {
    size_t done = 0;
    for (size_t at = 0; at < size;) {
        const Added *added = tokens->count ? match(cut->tokenizer, tokens, text + at, size - at) : NULL;
        if (!added) {
            at = tokens->count ? at + 1 : size;
            continue;
        }
        const size_t begin = added->left ? space_before(text, done, at) : at;
        const size_t end = at + matched_size(added);
        if (begin > done) TIM_TRY(between(cut, work, text + done, begin - done));
        TIM_TRY(tim_token_ids_add(cut->ids, added->id, cut->err));
        cut->first = false;
        at = done = added->right ? space_behind(text, end, size) : end;
    }
    return between(cut, work, text + done, size - done);
}

static TimStatus encode_part(Cut *cut, const char *text, size_t size) {
    const TimJsonTokenizer *t = cut->tokenizer;
    return t->is_bpe ? tim_bpe_encode(&t->bpe, text, size, cut->ids, cut->err)
                     : tim_unigram_encode(&t->unigram, text, size, cut->ids, cut->err);
}

static TimStatus encode_normalized(Cut *cut, const char *text, size_t size) {
    TimParts parts = {0};
    TimStatus status = tim_rules_split(&cut->tokenizer->pre_tokenizer, text, size, cut->first, &parts, cut->err);
    for (size_t i = 0, begin = 0; i < parts.count && status == TIM_OK; begin = parts.ends[i++])
        status = encode_part(cut, parts.text.bytes + begin, parts.ends[i] - begin);
    tim_parts_done(&parts);
    return status;
}

static TimStatus encode_raw(Cut *cut, const char *text, size_t size) {
    TimBuffer buffer = {0};
    tim_buffer_add(&buffer, text, size);
    TimStatus status = tim_buffer_check(&buffer, "a text", cut->err);
    if (status == TIM_OK) status = tim_rules_normalize(&cut->tokenizer->normalizer, &buffer, cut->err);
    if (status == TIM_OK && buffer.count > 0)
        status = cut_at_added(cut, &cut->tokenizer->normalized, buffer.bytes, buffer.count, encode_normalized);
    tim_buffer_done(&buffer);
    return status;
}

TimStatus tim_json_tokenizer_encode(const TimJsonTokenizer *tokenizer, const char *text, size_t size, TimTokenIds *ids,
                                    TimError *err) {
    Cut cut = {.tokenizer = tokenizer, .ids = ids, .first = true, .err = err};
    return cut_at_added(&cut, &tokenizer->raw, text, size, encode_raw);
}

size_t tim_json_tokenizer_count(const TimJsonTokenizer *tokenizer) {
    return tokenizer->count;
}

int32_t tim_json_tokenizer_unk(const TimJsonTokenizer *tokenizer) {
    return tokenizer->is_bpe ? tokenizer->bpe.unk : tokenizer->unigram.unk;
}

int32_t tim_json_tokenizer_find(const TimJsonTokenizer *tokenizer, const char *piece) {
    for (size_t i = 0; i < tokenizer->added_count; i++)
        if (strcmp(tokenizer->added[i].content, piece) == 0) return tokenizer->added[i].id;
    return tim_pieces_find(&tokenizer->vocab, piece, strlen(piece));
}

const char *tim_json_tokenizer_piece(const TimJsonTokenizer *tokenizer, int32_t id) {
    return id >= 0 && (size_t)id < tokenizer->count ? tokenizer->by_id[id] : NULL;
}
