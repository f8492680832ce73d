/* What the report of an evaluation promises: numbers that survive, pages that are whole, self-contained and safe, a verdict that
 * follows the numbers, failures that leave nothing. Files go to a new folder of their own. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "eval/markup.h"
#include "eval/report_parts.h"
#include "full_disk.h"
#include "report_sample.h"
#include "tim/eval.h"
#include "tim/image.h"

static char folder[] = "/tmp/tim-report-XXXXXX";

/* The linker sends the library's allocations here (--wrap). */
int __real_posix_memalign(void **out, size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);

static int allocations;       /* calls so far */
static int fail_at = INT_MAX; /* the one that fails, counted from 0 */

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    return allocations++ == fail_at ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails when a test has left a file */
}

/* "<folder>/<name>", valid until the next call but one. */
static const char *path_of(const char *name) {
    static char paths[2][128];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static bool exists(const char *name) {
    struct stat info;
    return lstat(path_of(name), &info) == 0;
}

/* The file as a text, which it then removes; free with free. */
static char *take_file(const char *name) {
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    rewind(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    assert_int_equal(strlen(text), size); /* no byte is zero */
    remove(path_of(name));
    return text;
}

static char *html_of(const TimReport *report) {
    TimError err = {.text = ""};
    const TimStatus status = tim_report_write_html(report, path_of("a.html"), &err);
    if (status != TIM_OK) fail_msg("%s", err.text);
    assert_false(exists("a.html.tmp"));
    return take_file("a.html");
}

static char *json_text_of(const TimReport *report) {
    TimError err = {.text = ""};
    const TimStatus status = tim_report_write_json(report, path_of("a.json"), &err);
    if (status != TIM_OK) fail_msg("%s", err.text);
    assert_false(exists("a.json.tmp"));
    return take_file("a.json");
}

static json_t *json_of(const TimReport *report) {
    json_error_t at;
    char *text = json_text_of(report);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    if (!root) fail_msg("line %d: %s", at.line, at.text);
    free(text);
    return root;
}

/* ---- the reports that every page and file must survive ---- */

enum { KINDS = 6 };

static const char hostile[] = "</title></bdi><script>alert('1')</script>\"><img src=x onerror=alert(2)>&amp;\\ \x01\x7F\xFF\xC0\xAF"
                              "\xED\xA0\x80\xF4\x90\x80\x80\xE2\x80\xAE\n\xC3\xA9 \xF0\x9F\x91\x97 \xE2\x82";

static void make_hostile(SampleReport *sample) {
    static const char *const names[SAMPLE_CLASSES] = {hostile, NULL, "", hostile};
    TimReport *report = &sample->report;
    report->model.name = report->model.hash = report->model.config = hostile;
    report->features.name = report->features.hash = report->data.name = report->data.training_name = hostile;
    report->run.processor = report->run.isa = report->run.precision = report->run.version = report->run.date = hostile;
    report->pictures.class_names = names;
}

static void make_absent(SampleReport *sample) {
    for (int i = 0; i < SAMPLE_ROWS; i++)
        for (int m = 0; m < TIM_MEASURE_COUNT; m++)
            if (m != TIM_MEASURE_FRECHET || i % 3 == 0) sample->rows[i].scores[m] = (TimReportScore){NAN, NAN, NULL};
    for (int m = 0; m < TIM_MEASURE_COUNT; m++) sample->report.real[m] = NAN;
    sample->report.near_distance = sample->report.features.test_accuracy = NAN;
    sample->report.model.training_steps = -1;
    sample->report.pictures.class_names = NULL;
    sample->report.pictures.sheets[1] = NULL;
    for (int i = 0; i < SAMPLE_PAIRS; i++) sample->pairs[i].distance = NAN, sample->pairs[i].training_index = -1;
}

/* Numbers at the ends of what a double holds; the evaluations too. */
static void make_extreme(SampleReport *sample) {
    static const double ends[] = {0, 1e300, -1e300, 1e-300, INFINITY, -INFINITY, NAN, 1, -3, 5e-324, 1e7, 1.7e308};
    enum { COUNT = sizeof ends / sizeof *ends };
    for (int i = 0; i < SAMPLE_ROWS; i++) {
        sample->rows[i].evaluations = i % 2 ? INT64_MAX / (i + 1) : 0;
        sample->rows[i].steps = i % 3 ? INT_MAX : 0;
        for (int m = 0; m < TIM_MEASURE_COUNT; m++)
            sample->rows[i].scores[m] = (TimReportScore){ends[(i + m) % COUNT], ends[(2 * i + m) % COUNT], ends};
    }
    for (int m = 0; m < TIM_MEASURE_COUNT; m++) sample->report.real[m] = ends[(m + 4) % COUNT];
    sample->report.model.parameters = INT64_MIN;
    sample->report.near_distance = -INFINITY;
}

static const char *make(SampleReport *sample, int kind) {
    static const char *const names[KINDS] = {"plain", "hostile", "absent", "one row", "zeros", "extreme"};
    sample_fill(sample);
    if (kind == 1) make_hostile(sample);
    if (kind == 2) make_absent(sample);
    if (kind == 3) sample->report.row_count = 1;
    if (kind == 4) memset(&sample->report, 0, sizeof sample->report);
    if (kind == 5) make_extreme(sample);
    return names[kind];
}

/* ---- JSON ---- */

static void check_number(const json_t *value, double expected) {
    if (!isfinite(expected)) {
        assert_true(json_is_null(value));
        return;
    }
    assert_true(json_is_number(value));
    const double number = json_number_value(value);
    assert_memory_equal(&number, &expected, sizeof number);
}

static void check_score(const json_t *score, const TimReportScore *expected, int seeds) {
    const json_t *values = json_object_get(score, "values");
    assert_int_equal(json_object_size(score), 3);
    check_number(json_object_get(score, "mean"), expected->mean);
    check_number(json_object_get(score, "standard_error"), isfinite(expected->mean) ? expected->error : NAN);
    if (!isfinite(expected->mean) || !expected->values) {
        assert_true(json_is_null(values));
        return;
    }
    assert_int_equal(json_array_size(values), seeds);
    for (int i = 0; i < seeds; i++) check_number(json_array_get(values, (size_t)i), expected->values[i]);
}

static void check_row(const json_t *row, const TimReportRow *expected, int seeds) {
    assert_string_equal(json_string_value(json_object_get(row, "mode")), tim_mode_name(expected->mode));
    assert_int_equal(json_integer_value(json_object_get(row, "steps")), expected->steps);
    assert_int_equal(json_integer_value(json_object_get(row, "evaluations")), expected->evaluations);
    for (int m = 0; m < TIM_MEASURE_COUNT; m++) check_score(json_object_get(row, tim_measures[m].key), &expected->scores[m], seeds);
}

static void test_json_any_report_reads_back_to_the_same_numbers(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        SampleReport sample;
        make(&sample, kind);
        json_t *root = json_of(&sample.report);
        const json_t *rows = json_object_get(root, "rows"), *real = json_object_get(root, "real");
        assert_int_equal(json_array_size(rows), sample.report.row_count);
        for (int i = 0; i < sample.report.row_count; i++)
            check_row(json_array_get(rows, (size_t)i), &sample.rows[i], sample.report.run.seeds);
        for (int m = 0; m < TIM_MEASURE_COUNT; m++) check_number(json_object_get(real, tim_measures[m].key), sample.report.real[m]);
        check_number(json_object_get(real, "nearest_distance_percentile_1"), sample.report.near_distance);
        assert_int_equal(json_array_size(json_object_get(root, "neighbours")), sample.report.pictures.pair_count);
        json_decref(root);
    }
}

static void test_json_facts_read_back(void **state) {
    (void)state;
    SampleReport sample;
    const char *isa, *date, *hash, *name, *training;
    int parameters, steps, samples, seeds, first_seed, last, pair_steps, index;
    make(&sample, 0);
    sample.report.run.seed = 7;
    json_t *root = json_of(&sample.report);
    assert_int_equal(json_unpack(root,
                                 "{s:{s:i, s:i, s:s}, s:{s:i, s:i, s:i, s:[iiiiii], s:s, s:s}, s:{s:s, s:s}, s:[{}{s:i, s:i}]}",
                                 "model", "parameters", &parameters, "training_steps", &steps, "hash", &hash, "run", "samples",
                                 &samples, "seeds", &seeds, "first_seed", &first_seed, "steps", &last, &last, &last, &last, &last,
                                 &last, "isa", &isa, "date", &date, "data", "name", &name, "training_name", &training, "neighbours",
                                 "training_index", &index, "steps", &pair_steps),
                     0);
    assert_int_equal(parameters, 5343248);
    assert_int_equal(steps, 60000);
    assert_int_equal(samples, 10000);
    assert_int_equal(seeds, 3);
    assert_int_equal(first_seed, 7);
    assert_int_equal(last, 128);
    assert_int_equal(index, 1000);
    assert_int_equal(pair_steps, 2);
    assert_string_equal(isa, "avx512_bf16");
    assert_string_equal(date, "31 March 2026");
    assert_string_equal(name, "Fashion-MNIST");
    assert_string_equal(training, "Fashion-MNIST:train");
    assert_string_equal(hash, sample.report.model.hash);
    json_decref(root);
}

static void test_json_hostile_text_is_repaired(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 1);
    json_t *root = json_of(&sample.report);
    const char *name = json_string_value(json_object_get(json_object_get(root, "model"), "name"));
    assert_non_null(name);
    assert_ptr_equal(strstr(name, "</title></bdi><script>alert('1')</script>\"><img src=x onerror=alert(2)>&amp;\\ \xEF\xBF\xBD"),
                     name);
    assert_non_null(strstr(name, "\xE2\x80\xAE\n\xC3\xA9 \xF0\x9F\x91\x97 \xEF\xBF\xBD\xEF\xBF\xBD"));
    json_decref(root);
}

static void test_json_unknown_facts_are_null(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 4);
    sample.report.model.training_steps = -1;
    json_t *root = json_of(&sample.report);
    const json_t *model = json_object_get(root, "model");
    assert_true(json_is_null(json_object_get(model, "name")));
    assert_true(json_is_null(json_object_get(model, "training_steps")));
    assert_true(json_is_null(json_object_get(json_object_get(root, "run"), "isa")));
    json_decref(root);
}

/* ---- texts ---- */

static void check_markup(void (*put)(TimBuffer *, const char *), const char *text, const char *expected) {
    TimBuffer buffer = {0};
    put(&buffer, text);
    tim_buffer_add(&buffer, "", 1);
    assert_false(buffer.failed);
    assert_string_equal(buffer.bytes, expected);
    tim_buffer_done(&buffer);
}

static void test_markup_escapes_what_means_something(void **state) {
    (void)state;
    check_markup(tim_markup_html, "a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;");
    check_markup(tim_markup_json, "a\"\\\n\t/", "\"a\\\"\\\\\\n\\t/\"");
    check_markup(tim_markup_html, NULL, "");
    check_markup(tim_markup_json, NULL, "null");
}

static void test_markup_repairs_what_is_not_utf8(void **state) {
    (void)state;
    static const char *const whole[] = {"\x7E",         "\xC2\xA0",     "\xDF\xBF",         "\xE0\xA0\x80",    "\xED\x9F\xBF",
                                        "\xEE\x80\x80", "\xEF\xBF\xBD", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const broken[] = {"\x7F", "\x1F", "\x80", "\xBF", "\xC2", "\xE2", "\xF0", "\xFF", "\xF5"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) check_markup(tim_markup_html, whole[i], whole[i]);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) check_markup(tim_markup_html, broken[i], "\xEF\xBF\xBD");
    check_markup(tim_markup_html, "\xC1\xBF", "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* overlong */
    check_markup(tim_markup_html, "\xC2\x85", "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* a control character */
    check_markup(tim_markup_html, "\xE0\x9F\xBF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* overlong */
    check_markup(tim_markup_html, "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    check_markup(tim_markup_html, "\xE2\x82<", "\xEF\xBF\xBD\xEF\xBF\xBD&lt;");            /* cut short */
}

/* RFC 4648, section 10. */
static void test_buffer_base64_known_answers(void **state) {
    (void)state;
    static const char *const answers[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n < sizeof answers / sizeof *answers; n++) {
        TimBuffer buffer = {0};
        tim_buffer_base64(&buffer, "foobar", n);
        assert_int_equal(buffer.count, strlen(answers[n]));
        if (n > 0) assert_memory_equal(buffer.bytes, answers[n], buffer.count);
        tim_buffer_done(&buffer);
    }
}

/* ---- HTML ---- */

/* A small checker: every tag that opens closes in order, attributes are quoted, no bare "<" or "&". */
typedef struct Tags {
    char names[64][16];
    int depth;
} Tags;

static bool is_void(const char *name) {
    static const char *const names[] = {"meta", "img", "br"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* The attributes up to and with the ">"; returns what follows. */
static const char *skip_attributes(const char *at, bool *closed) {
    *closed = false;
    for (; *at != '>'; at++) {
        assert_true(*at != 0 && *at != '<' && *at != '\'');
        *closed = *at == '/';
        if (*at != '"') continue;
        at = strchr(at + 1, '"');
        assert_non_null(at);
        assert_true(at[1] == ' ' || at[1] == '>' || at[1] == '/');
    }
    return at + 1;
}

static const char *read_tag(Tags *tags, const char *at) {
    char name[16];
    bool closed;
    const bool closing = at[1] == '/';
    const char *start = at + 1 + closing;
    const size_t length = strspn(start, "abcdefghijklmnopqrstuvwxyz0123456789");
    assert_true(length > 0 && length < sizeof name);
    snprintf(name, sizeof name, "%.*s", (int)length, start);
    at = skip_attributes(start + length, &closed);
    if (closing) {
        assert_true(tags->depth > 0);
        assert_string_equal(name, tags->names[--tags->depth]);
    } else if (!closed && !is_void(name)) {
        assert_true(tags->depth < 64);
        strcpy(tags->names[tags->depth++], name);
    }
    return !closing && strcmp(name, "style") == 0 ? strstr(at, "</style>") : at;
}

static const char *read_entity(const char *at) {
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(at, names[i], strlen(names[i])) == 0) return at + strlen(names[i]);
    fail_msg("a bare &: %.20s", at);
    return at;
}

static void check_tags(const char *html) {
    static const char start[] = "<!DOCTYPE html>\n";
    Tags tags = {.depth = 0};
    assert_memory_equal(html, start, sizeof start - 1);
    for (const char *at = html + sizeof start - 1; *at;) {
        at += strcspn(at, "<&>");
        assert_true(*at != '>');
        if (*at == '&') at = read_entity(at);
        if (*at == '<') at = read_tag(&tags, at);
    }
    assert_int_equal(tags.depth, 0);
}

static size_t count(const char *text, const char *needle) {
    size_t found = 0;
    for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle)) found++;
    return found;
}

static void test_html_any_report_has_balanced_tags(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        SampleReport sample;
        print_message("%s\n", make(&sample, kind));
        char *html = html_of(&sample.report);
        check_tags(html);
        free(html);
    }
}

static void test_html_asks_for_nothing_outside(void **state) {
    (void)state;
    static const char *const asking[] = {"http:",   "https:",  "//",   "<script", "<link",
                                         "<iframe", "<object", "href", "@import", "url("};
    SampleReport sample;
    make(&sample, 0);
    sample.report.pictures.sheets[0] = sample.report.pictures.sheets[1] = NULL; /* base64 may hold any of these but <> */
    sample.report.pictures.pair_count = 0;
    char *html = html_of(&sample.report);
    for (size_t i = 0; i < sizeof asking / sizeof *asking; i++) assert_null(strstr(html, asking[i]));
    assert_null(strstr(html, "src="));
    free(html);
    make(&sample, 0);
    html = html_of(&sample.report);
    assert_int_equal(count(html, "src="), count(html, " src=\"data:image/png;base64,"));
    assert_int_equal(count(html, " src="), 2 * SAMPLE_STEPS * SAMPLE_CLASSES + 2 * SAMPLE_PAIRS);
    free(html);
}

static void test_html_hostile_text_stays_text(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 1);
    char *html = html_of(&sample.report);
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "<img src=x"));
    assert_int_equal(count(html, "</title>"), count(html, "<title"));
    assert_true(count(html, "&lt;script&gt;alert(&#39;1&#39;)") >= 10);
    free(html);
}

/* The numbers of the drawing come from the data: none may be "nan" or "inf", and none may leave the drawing. */
static void check_drawing(const char *html) {
    for (const char *svg = strstr(html, "<svg"); svg; svg = strstr(svg + 1, "<svg")) {
        const char *end = strstr(svg, "</svg>");
        for (const char *at = svg; at < end; at++) {
            assert_false(strncmp(at, "nan", 3) == 0 || strncmp(at, "\"inf", 4) == 0 || strncmp(at, "Minf", 4) == 0);
            if (strncmp(at, "cx=\"", 4) == 0) assert_true(atof(at + 4) >= 46 && atof(at + 4) <= 348);
            if (strncmp(at, "cy=\"", 4) == 0) assert_true(atof(at + 4) >= 12 && atof(at + 4) <= 232);
        }
    }
}

static void test_html_plots_stay_inside_their_frames(void **state) {
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        SampleReport sample;
        make(&sample, kind);
        char *html = html_of(&sample.report);
        check_drawing(html);
        assert_int_equal(count(html, "<svg"), kind == 4 ? 0 : kind == 2 ? 1 : 3);
        free(html);
    }
}

static void test_html_plot_has_ticks_at_the_evaluations(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    char *html = html_of(&sample.report), needle[64];
    for (int i = 0; i < SAMPLE_STEPS; i++) {
        snprintf(needle, sizeof needle, "text-anchor=\"middle\">%d</text>", sample_steps[i]);
        assert_int_equal(count(html, needle), 2);
    }
    assert_non_null(strstr(html, "real pictures: 2.61</text>"));
    assert_int_equal(count(html, "<desc id="), 3);
    free(html);
    sample.report.real[TIM_MEASURE_FRECHET] = 0.00580557019782546;
    html = html_of(&sample.report);
    assert_non_null(strstr(html, "real pictures: 0.00581</text>"));
    free(html);
}

static void test_html_absent_scores_have_no_column(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    char *html = html_of(&sample.report);
    assert_int_equal(count(html, "<th scope=\"col\">Precision</th>"), 2);
    free(html);
    make(&sample, 2);
    html = html_of(&sample.report);
    assert_null(strstr(html, "<th scope=\"col\">Precision</th>"));
    assert_non_null(strstr(html, "<th scope=\"col\">Fréchet distance</th>"));
    assert_null(strstr(html, "Diffusion mode</h3>"));
    free(html);
}

static void test_html_one_seed_speaks_of_no_errors(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    char *html = html_of(&sample.report);
    assert_non_null(
        strstr(html, "Means over 3 seeds ± their standard error; 10,000 pictures for each row and seed. Real: as many"));
    assert_int_equal(count(html, "<h2>Every seed</h2>"), 1);
    free(html);
    sample.report.run.seeds = 1;
    html = html_of(&sample.report);
    assert_non_null(strstr(html, "Values of one seed, so without errors; 10,000 pictures"));
    assert_null(strstr(html, "one standard error over seeds"));
    assert_null(strstr(html, "<h2>Every seed</h2>"));
    free(html);
}

/* ---- pictures ---- */

static int digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* Decodes up to the quote into a file. */
static void write_decoded(const char *at, const char *name) {
    FILE *file = fopen(path_of(name), "wb");
    unsigned word = 0;
    int bits = 0;
    assert_non_null(file);
    for (; digit(*at) >= 0; at++) {
        word = word << 6 | (unsigned)digit(*at);
        bits += 6;
        if (bits >= 8) bits -= 8, fputc((int)(word >> bits & 255), file);
    }
    assert_int_equal(fclose(file), 0);
}

static void test_html_pictures_decode_to_the_same_pixels(void **state) {
    (void)state;
    static const char mark[] = "data:image/png;base64,";
    SampleReport sample;
    make(&sample, 0);
    char *html = html_of(&sample.report);
    const char *at = strstr(html, mark);
    for (int i = 0; i < 2 * SAMPLE_STEPS * SAMPLE_CLASSES; i++, at = strstr(at + 1, mark)) {
        TimImage image;
        assert_non_null(at);
        write_decoded(at + sizeof mark - 1, "a.png");
        assert_int_equal(tim_image_read_png(&image, path_of("a.png"), NULL), TIM_OK);
        assert_int_equal(image.channels, 1);
        assert_memory_equal(image.pixels, &sample.pictures[0][0][0][0] + (size_t)i * SAMPLE_SIDE * SAMPLE_SIDE,
                            SAMPLE_SIDE * SAMPLE_SIDE);
        tim_image_done(&image);
    }
    remove(path_of("a.png"));
    free(html);
}

/* ---- the verdict ---- */

static char *verdict_of(const TimReport *report) {
    TimBuffer buffer = {0};
    tim_report_verdict(&buffer, report);
    tim_buffer_add(&buffer, "", 1);
    assert_false(buffer.failed);
    char *text = strdup(buffer.bytes);
    tim_buffer_done(&buffer);
    return text;
}

static void check_verdict(const TimReport *report, const char *said, const char *unsaid) {
    char *verdict = verdict_of(report);
    if (!strstr(verdict, said) || (unsaid && strstr(verdict, unsaid))) fail_msg("'%s' / '%s' in: %s", said, unsaid, verdict);
    assert_true(verdict[strlen(verdict) - 1] == '.');
    free(verdict);
}

static void set_frechet(SampleReport *sample, int mode, const double means[SAMPLE_STEPS], double error) {
    for (int i = 0; i < SAMPLE_STEPS; i++)
        sample->rows[mode * SAMPLE_STEPS + i].scores[TIM_MEASURE_FRECHET] = (TimReportScore){means[i], error, NULL};
}

/* The page of the demo: the sheet as it is, plots and means of a report that was written before. */
static TimStatus write_demo(const char *json, TimError *err) {
    char report[128], sheet[128];
    snprintf(report, sizeof report, "%s", path_of(json));
    snprintf(sheet, sizeof sheet, "%s", path_of("sheet.png"));
    return tim_report_write_demo(report, NULL, sheet, path_of("demo.html"), err);
}

static void check_demo(const SampleReport *sample) {
    TimError err;
    TimReportFile file;
    assert_int_equal(tim_report_write_json(&sample->report, path_of("b.json"), &err), TIM_OK);
    if (sample->report.row_count == 0) {
        assert_int_equal(tim_report_read(&file, path_of("b.json"), &err), TIM_E_FORMAT);
        return;
    }
    if (tim_report_read(&file, path_of("b.json"), &err) != TIM_OK) fail_msg("%s", err.text);
    assert_int_equal(file.report.row_count, sample->report.row_count);
    const double mean = file.report.rows[0].scores[TIM_MEASURE_FRECHET].mean,
                 wanted = sample->rows[0].scores[TIM_MEASURE_FRECHET].mean;
    assert_true(mean == wanted || (isnan(mean) && !isfinite(wanted)));
    tim_report_file_done(&file);
    if (write_demo("b.json", &err) != TIM_OK) fail_msg("%s", err.text);
    char *html = take_file("demo.html");
    check_tags(html);
    assert_int_equal(count(html, "data:image/png;base64,iVBOR"), 1);
    free(html);
}

static void test_demo_page_shows_sheet_and_quality(void **state) {
    (void)state;
    TimError err;
    uint8_t pixels[4] = {0, 80, 160, 240};
    const TimImage image = {.pixels = pixels, .height = 2, .width = 2, .channels = 1};
    assert_int_equal(tim_image_write_png(&image, path_of("sheet.png"), NULL, 0, &err), TIM_OK);
    for (int kind = 0; kind < KINDS; kind++) {
        SampleReport sample;
        make(&sample, kind);
        check_demo(&sample);
    }
    assert_int_equal(write_demo("none.json", &err), TIM_E_IO);
    static const char *const rows[] = {"{\"mode\": 3}",
                                       "{\"mode\": \"drift\", \"steps\": 1, \"evaluations\": 1}",
                                       "{\"mode\": \"transition\", \"evaluations\": 1}",
                                       "{\"mode\": \"transition\", \"steps\": 1.0, \"evaluations\": 1}",
                                       "{\"mode\": \"transition\", \"steps\": 4294967297, \"evaluations\": 1}",
                                       "{\"mode\": \"transition\", \"steps\": 1}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *stream = fopen(path_of("b.json"), "w");
        assert_non_null(stream);
        fprintf(stream, "{\"format\": \"tim-report\", \"version\": 1, \"rows\": [%s]}", rows[i]);
        fclose(stream);
        assert_int_equal(write_demo("b.json", &err), TIM_E_FORMAT);
        assert_non_null(strstr(err.text, "b.json: a row without mode, steps or evaluations"));
    }
    FILE *stream = fopen(path_of("b.json"), "w"); /* whose keys may mean something else */
    assert_non_null(stream);
    fputs("{\"format\": \"tim-report\", \"version\": 2, \"rows\": [{\"mode\": \"transition\", \"steps\": 1, \"evaluations\": 1}]}",
          stream);
    fclose(stream);
    assert_int_equal(write_demo("b.json", &err), TIM_E_FORMAT);
    assert_non_null(strstr(err.text, "b.json: a report of version 2"));
    assert_int_equal(remove(path_of("b.json")), 0);
    assert_int_equal(remove(path_of("sheet.png")), 0);
}

static void test_verdict_says_how_quality_changes(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    check_verdict(&sample.report, "falls from 45.2 with 1 evaluation to 34.1 with 128 without a clear rise in between", "worse");
    check_verdict(&sample.report, "; the best, 34.1, is 13 times the 2.61 of real pictures. ", "errors not known");
    set_frechet(&sample, 0, (double[]){45, 38, 36, 80, 35, 34}, .3);
    check_verdict(&sample.report,
                  "falls from 45.0 with 1 evaluation to 34.0 with 128, but gets worse from 4 to 8 evaluations (36.0 to "
                  "80.0)",
                  "without a clear rise");
    set_frechet(&sample, 0, (double[]){45, 38, 36, 36.2, 35, 34}, .3); /* within its error */
    check_verdict(&sample.report, "without a clear rise", "worse");
    set_frechet(&sample, 0, (double[]){30, 33, 35, 37, 39, 41}, .3);
    check_verdict(&sample.report, "rises from 30.0 with 1 evaluation to 41.0 with 128; the best, 30.0,", "falls");
    set_frechet(&sample, 0, (double[]){30, 28, 35, 37, 39, 41}, .3);
    check_verdict(&sample.report,
                  "rises from 30.0 with 1 evaluation to 41.0 with 128, most of all from 2 to 128 evaluations (28.0 to 41.0); the",
                  "but");
    set_frechet(&sample, 0, (double[]){30, 30, 30, 30, 30, 30.1}, .3);
    check_verdict(&sample.report, "is 30.0 with 1 evaluation and 30.1 with 128, no clear difference", "falls");
    set_frechet(&sample, 0, (double[]){2.5, 2.5, 2.5, 2.5, 2.5, 2.5}, .3);
    check_verdict(&sample.report, "is no higher than the 2.61 of real pictures", "times the");
}

/* Two standard errors of three seeds are 12 % of all cases, 2.8 are 5 %. */
static void test_verdict_of_few_seeds_asks_for_more(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    const double means[SAMPLE_STEPS] = {30, 30, 30, 30, 30, 28.95}; /* 1.05 are 2.5 times the error of the difference */
    set_frechet(&sample, 0, means, .3);
    sample.report.run.seeds = 3;
    check_verdict(&sample.report, "no clear difference", "falls");
    sample.report.run.seeds = 10;
    check_verdict(&sample.report, "falls from 30.0", "no clear difference");
}

/* Of six rows the highest of five is 2.8 errors above the best before it in a fifth of all cases, by chance. */
static void test_verdict_sees_no_rise_by_chance(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    sample.report.run.seeds = 3;
    set_frechet(&sample, 0, (double[]){45, 30, 31.6, 30, 30, 30}, .3); /* 3.8 times the error of the difference */
    check_verdict(&sample.report, "without a clear rise", "worse");
    set_frechet(&sample, 0, (double[]){45, 30, 32, 30, 30, 30}, .3); /* 4.7 */
    check_verdict(&sample.report, "but gets worse from 2 to 4 evaluations", "without a clear rise");
}

/* Slow rises, each within its error, add up to one that is not. */
static void test_verdict_sees_a_rise_over_several_rows(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    set_frechet(&sample, 0, (double[]){45, 30, 30.5, 31, 31.5, 32}, .3);
    check_verdict(&sample.report, "but gets worse from 2 to 128 evaluations (30.0 to 32.0)", "without a clear rise");
}

static void test_verdict_compares_with_diffusion_mode(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    check_verdict(&sample.report, "it is lower with 1, 2, 4, 8 and 32, not clearly different with 128;", "higher with");
    set_frechet(&sample, 0, (double[]){999, 38, 36, 70, 50, 45}, .3);
    check_verdict(&sample.report, "it is lower with 2 and 4, higher with 1, 8, 32 and 128;", "different");
    sample.report.row_count = 1;
    check_verdict(&sample.report, "Diffusion mode was not measured with the same numbers of evaluations;", "lower with");
}

static void test_verdict_judges_copying(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    check_verdict(&sample.report, "; there is no sign of copying (", "signs");
    sample.rows[3].scores[TIM_MEASURE_NEAR_SHARE].mean = .12;
    check_verdict(&sample.report,
                  "; there are signs of copying (median distance to the nearest training picture at least 1.01 times "
                  "that of test pictures, at most 12.0 % very near where 1 % is expected).",
                  "no sign");
    make(&sample, 0);
    sample.rows[SAMPLE_ROWS - 1].scores[TIM_MEASURE_NEAR_SHARE].mean =
        .12; /* of the diffusion mode, which nobody would draw with */
    check_verdict(&sample.report, "; there is no sign of copying (", "signs");
    sample.report.run.samples = 100, sample.report.run.seeds = 1; /* 3 of 100 where 1 is expected is chance */
    sample.rows[3].scores[TIM_MEASURE_NEAR_SHARE] = (TimReportScore){.mean = .03, .error = NAN};
    check_verdict(&sample.report, "; there is no sign of copying (", "signs");
    sample.report.run.samples = 10000, sample.report.data.test_count = 100; /* their percentile is one picture */
    check_verdict(&sample.report, "; there is no sign of copying (", "signs");
    sample.report.data.test_count = 10000;
    check_verdict(&sample.report, "; there are signs of copying (", "no sign");
    make(&sample, 0);
    sample.rows[3].scores[TIM_MEASURE_DISTANCE_RATIO].mean = .4;
    check_verdict(&sample.report, "; there are signs of copying (", "no sign");
    sample.report.run.samples = 8, sample.report.run.seeds = 1; /* the median of eight, of no copies, may be as low as that */
    sample.rows[3].scores[TIM_MEASURE_DISTANCE_RATIO] = (TimReportScore){.mean = .66, .error = NAN};
    check_verdict(&sample.report, "; there is no sign of copying (", "signs");
    sample.report.run.samples = 1000;
    check_verdict(&sample.report, "; there are signs of copying (", "no sign");
    for (int i = 0; i < SAMPLE_ROWS; i++) sample.rows[i].scores[TIM_MEASURE_DISTANCE_RATIO].mean = 2;
    check_verdict(&sample.report, "no sign of copying (", NULL);
    check_verdict(&sample.report, ", which says little of pictures that far from all others.", NULL);
}

static void test_verdict_without_numbers_claims_nothing(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 4);
    check_verdict(&sample.report,
                  "was not measured in transition mode, so nothing can be said of quality by steps. Diffusion mode was "
                  "not measured with the same numbers of evaluations; copying was not tested.",
                  "lower");
    make(&sample, 0);
    for (int i = 0; i < SAMPLE_ROWS; i++) sample.rows[i].scores[TIM_MEASURE_FRECHET].error = NAN;
    check_verdict(&sample.report, "The Fréchet distance in transition mode (errors not known) falls", NULL);
    check_verdict(&sample.report, "Against diffusion mode with as many evaluations, errors not known, it is lower with", NULL);
}

static void test_score_of_seeds_has_mean_and_error(void **state) {
    (void)state;
    const double values[] = {1, 2, 6}, broken[] = {1, NAN};
    const TimReportScore three = tim_report_score(values, 3), one = tim_report_score(values, 1), none = tim_report_score(NULL, 0);
    assert_true(three.mean == 3 && three.values == values);
    assert_true(fabs(three.error - sqrt(7.0 / 3)) < 1e-15); /* variance 14 / 2, over 3 */
    assert_true(one.mean == 1 && isnan(one.error));
    assert_true(isnan(none.mean) && isnan(none.error) && !none.values);
    assert_true(isnan(tim_report_score(broken, 2).mean));
}

/* ---- the same bits, and failures ---- */

static void test_writers_same_report_gives_the_same_bits(void **state) {
    (void)state;
    SampleReport sample, again;
    make(&sample, 0);
    char *html = html_of(&sample.report), *json = json_text_of(&sample.report);
    make(&again, 0);
    char *html_again = html_of(&again.report), *json_again = json_text_of(&again.report);
    assert_string_equal(html, html_again);
    assert_string_equal(json, json_again);
    free(html), free(json), free(html_again), free(json_again);
}

typedef TimStatus (*Writer)(const TimReport *report, const char *path, TimError *err);

static const Writer writers[] = {tim_report_write_json, tim_report_write_html};

static void check_failure(const TimReport *report, const char *name, TimStatus expected, const char *said) {
    for (size_t i = 0; i < 2; i++) {
        TimError err = {.text = ""};
        assert_int_equal(writers[i](report, path_of(name), &err), expected);
        assert_int_equal(err.status, expected);
        if (!strstr(err.text, said)) fail_msg("'%s' is not in '%s'", said, err.text);
    }
}

static void test_writers_missing_folder_names_the_path(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    check_failure(&sample.report, "no/a.html", TIM_E_IO, path_of("no/a.html"));
}

static void test_writers_over_a_folder_fail_and_leave_no_file(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    assert_int_equal(mkdir(path_of("a"), 0777), 0);
    check_failure(&sample.report, "a", TIM_E_IO, path_of("a"));
    assert_false(exists("a.tmp"));
    assert_int_equal(rmdir(path_of("a")), 0);
}

static void test_writers_full_disk_fail_and_leave_no_file(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    for (size_t i = 0; i < 2; i++) {
        TimError err;
        set_disk_full(1);
        const TimStatus status = writers[i](&sample.report, path_of("a"), &err);
        set_disk_full(0);
        assert_int_equal(status, TIM_E_IO);
        assert_non_null(strstr(err.text, path_of("a")));
        assert_false(exists("a") || exists("a.tmp"));
    }
}

static void test_writers_bad_fields_fail(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0), sample.report.row_count = -1;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "row_count is -1");
    make(&sample, 0), sample.report.rows = NULL;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "row_count is 12 without");
    make(&sample, 0), sample.report.run.seeds = -2;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "seeds is -2");
    make(&sample, 0), sample.report.run.steps = NULL;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "step_count is 6 without");
    make(&sample, 0), sample.rows[2].mode = (TimSampleMode)2;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "row 2: mode 2");
    make(&sample, 0), sample.rows[1].evaluations = -5;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "row 1: -5 evaluations");
    make(&sample, 0), sample.pairs[1].training = NULL;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "pair 1");
    make(&sample, 0), sample.report.pictures.channels = 2;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "2 channels");
    make(&sample, 0), sample.report.pictures.height = 0;
    check_failure(&sample.report, "a", TIM_E_ARGUMENT, "height 0");
    assert_false(exists("a") || exists("a.tmp"));
}

static void test_writers_any_allocation_failing_fails_and_leaves_no_file(void **state) {
    (void)state;
    SampleReport sample;
    make(&sample, 0);
    for (size_t i = 0; i < 2; i++) {
        TimStatus status = TIM_E_MEMORY;
        int k = 0;
        for (; status != TIM_OK; k++) {
            TimError err;
            allocations = 0, fail_at = k;
            status = writers[i](&sample.report, path_of("a"), &err);
            fail_at = INT_MAX;
            if (status == TIM_OK) break;
            assert_int_equal(status, TIM_E_MEMORY);
            assert_false(exists("a") || exists("a.tmp"));
        }
        assert_true(k > 5); /* the wrapping works */
        remove(path_of("a"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_any_report_reads_back_to_the_same_numbers),
        cmocka_unit_test(test_json_facts_read_back),
        cmocka_unit_test(test_json_hostile_text_is_repaired),
        cmocka_unit_test(test_json_unknown_facts_are_null),
        cmocka_unit_test(test_markup_escapes_what_means_something),
        cmocka_unit_test(test_markup_repairs_what_is_not_utf8),
        cmocka_unit_test(test_buffer_base64_known_answers),
        cmocka_unit_test(test_html_any_report_has_balanced_tags),
        cmocka_unit_test(test_html_asks_for_nothing_outside),
        cmocka_unit_test(test_html_hostile_text_stays_text),
        cmocka_unit_test(test_html_plots_stay_inside_their_frames),
        cmocka_unit_test(test_html_plot_has_ticks_at_the_evaluations),
        cmocka_unit_test(test_html_absent_scores_have_no_column),
        cmocka_unit_test(test_html_one_seed_speaks_of_no_errors),
        cmocka_unit_test(test_html_pictures_decode_to_the_same_pixels),
        cmocka_unit_test(test_demo_page_shows_sheet_and_quality),
        cmocka_unit_test(test_verdict_says_how_quality_changes),
        cmocka_unit_test(test_verdict_of_few_seeds_asks_for_more),
        cmocka_unit_test(test_verdict_sees_no_rise_by_chance),
        cmocka_unit_test(test_verdict_sees_a_rise_over_several_rows),
        cmocka_unit_test(test_verdict_compares_with_diffusion_mode),
        cmocka_unit_test(test_verdict_judges_copying),
        cmocka_unit_test(test_verdict_without_numbers_claims_nothing),
        cmocka_unit_test(test_score_of_seeds_has_mean_and_error),
        cmocka_unit_test(test_writers_same_report_gives_the_same_bits),
        cmocka_unit_test(test_writers_missing_folder_names_the_path),
        cmocka_unit_test(test_writers_over_a_folder_fail_and_leave_no_file),
        cmocka_unit_test(test_writers_full_disk_fail_and_leave_no_file),
        cmocka_unit_test(test_writers_bad_fields_fail),
        cmocka_unit_test(test_writers_any_allocation_failing_fails_and_leaves_no_file),
    };
    return cmocka_run_group_tests_name("report", tests, make_folder, remove_folder);
}
