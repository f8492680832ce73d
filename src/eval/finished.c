#include "eval/finished.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/file.h"
#include "io/number.h"

static const char format_line[] = "tim-eval-finished 5 ";

/* ---- one line ---- */

/* Where the numbers of a judgement are, in the order of the file. */
enum { JUDGED = 9 };

static void judged(TimJudgement *j, double *places[JUDGED]) {
    double *const all[JUDGED] = {&j->frechet, &j->frechet_limit, &j->frechet_2000, &j->kernel, &j->precision,
                                 &j->recall,  &j->agreement,     &j->distance,     &j->near};
    memcpy(places, all, sizeof all);
}

static TimStatus write_line(FILE *stream, const TimFinishedSetting *setting) {
    TimFinishedSetting s = *setting;
    double *numbers[JUDGED];
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    judged(&s.judgement, numbers);
    fprintf(stream, "%d %d %d %lld %llu %.17g", (int)s.mode, s.steps, s.seed_index, (long long)s.evaluations,
            (unsigned long long)s.processor, s.pictures_per_second);
    for (int i = 0; i < JUDGED; i++) fprintf(stream, " %.17g", *numbers[i]);
    fprintf(stream, " %d", s.pair_count);
    for (int i = 0; i < s.pair_count; i++)
        fprintf(stream, " %.17g %lld %lld", s.pairs[i].distance, (long long)s.pairs[i].picture, (long long)s.pairs[i].training);
    fputc('\n', stream);
    tim_locale_leave_plain(plain, before);
    return fflush(stream) == 0 && !ferror(stream) && fsync(fileno(stream)) == 0 ? TIM_OK : TIM_E_IO;
}

/* What is left of a line that is read; `good` falls when something else stands there than what was asked for. */
typedef struct Words {
    char *at;
    bool good;
} Words;

/* Behind a word that ends at `end`; none was there if that is where it would begin. */
static void go_on(Words *w, char *end) {
    if (end == w->at) w->good = false;
    w->at = end;
}

static double next_number(Words *w) {
    char *end = w->at;
    const double value = w->good ? strtod(w->at, &end) : 0; /* also nan */
    go_on(w, end);
    return value;
}

static int64_t next_integer(Words *w, double low, double high) {
    const double value = next_number(w);
    if (value >= low && value <= high && value == floor(value)) return (int64_t)value;
    w->good = false;
    return 0;
}

static uint64_t next_hash(Words *w) {
    char *end = w->at;
    const uint64_t value = w->good ? strtoull(w->at, &end, 10) : 0;
    go_on(w, end);
    return value;
}

/* Whether the text is a whole line as write_line makes them. */
static bool read_line(char *text, TimFinishedSetting *out) {
    enum { MOST = 1 << 30 };
    Words w = {text, true};
    double *numbers[JUDGED];
    *out = (TimFinishedSetting){.mode = (TimSampleMode)next_integer(&w, TIM_SAMPLE_TRANSITION, TIM_SAMPLE_DIFFUSION)};
    out->steps = (int)next_integer(&w, 1, TIM_SAMPLE_MAX_STEPS);
    out->seed_index = (int)next_integer(&w, 0, MOST);
    out->evaluations = next_integer(&w, 1, MOST);
    out->processor = next_hash(&w);
    out->pictures_per_second = next_number(&w);
    judged(&out->judgement, numbers);
    for (int i = 0; i < JUDGED; i++) *numbers[i] = next_number(&w);
    out->pair_count = (int)next_integer(&w, 0, TIM_FINISHED_PAIRS);
    for (int i = 0; i < out->pair_count; i++) {
        out->pairs[i].distance = next_number(&w);
        out->pairs[i].picture = next_integer(&w, 0, MOST);
        out->pairs[i].training = next_integer(&w, 0, MOST);
    }
    return w.good && *w.at == '\n';
}

/* ---- the file ---- */

static TimStatus keep(TimFinished *f, const TimFinishedSetting *setting, TimError *err) {
    TIM_TRY(tim_grow(&f->settings, &f->capacity, f->count, sizeof *f->settings, "the settings that are done", err));
    f->settings[f->count++] = *setting;
    return TIM_OK;
}

enum { LINE_BYTES = 4096 }; /* more than any line that is written */

/* The next line, cut to LINE_BYTES and then not whole; returns what is behind it, NULL after the last. */
static const char *next_line(char line[LINE_BYTES], const char *text, const char *end) {
    if (text == end) return NULL;
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    const char *behind = newline ? newline + 1 : end;
    const size_t length = behind - text < LINE_BYTES ? (size_t)(behind - text) : LINE_BYTES - 1;
    memcpy(line, text, length);
    line[length] = '\0';
    return behind;
}

/* What the first line says was evaluated, its end cut off; NULL if it is none of this format. */
static const char *subject_of(char line[LINE_BYTES]) {
    char *newline = strchr(line, '\n');
    if (!newline || strncmp(line, format_line, strlen(format_line)) != 0) return NULL;
    *newline = '\0';
    return line + strlen(format_line);
}

/* Where the first word begins that two subjects do not share, or one of them ends. */
static size_t first_difference(const char *a, const char *b) {
    for (size_t word = 0;; word++) {
        const size_t length = strcspn(a + word, " ");
        if (length != strcspn(b + word, " ") || strncmp(a + word, b + word, length) != 0) return word;
        word += length;
        if (!a[word] || !b[word]) return word;
    }
}

/* Takes over what earlier runs have done. Each line stands for itself: those that are not whole are passed over. */
static TimStatus read_settings(TimFinished *f, const char *text, const char *end, TimError *err) {
    char line[LINE_BYTES];
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    TimFinishedSetting setting;
    TimStatus status = TIM_OK;
    while (status == TIM_OK && (text = next_line(line, text, end)))
        if (read_line(line, &setting)) status = keep(f, &setting, err);
    tim_locale_leave_plain(plain, before);
    return status;
}

/* `before` is what the file tells of, NULL if that is not known. */
static TimStatus refuse(const TimFinished *f, const char *before, const char *subject, TimError *err) {
    const size_t word = before ? first_difference(before, subject) : 0;
    if (!before || !before[word] || !subject[word])
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s: does not begin as this version writes it, so that nothing can be taken over; give the report another "
                        "folder, or have this one replaced (--overwrite)",
                        f->path);
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s: tells of an evaluation with %.*s, and this is one with %.*s; ask for the same to go on with it, give the "
                    "report another folder, or have this one replaced (--overwrite)",
                    f->path, (int)strcspn(before + word, " "), before + word, (int)strcspn(subject + word, " "), subject + word);
}

static TimStatus read_text(TimFinished *f, const char *text, const char *end, const char *subject, bool replace, TimError *err) {
    char line[LINE_BYTES] = "";
    const char *settings = next_line(line, text, end), *before = subject_of(line);
    if (before && strcmp(before, subject) == 0) return read_settings(f, settings, end, err);
    return replace ? TIM_OK : refuse(f, before, subject, err);
}

static TimStatus read_file(TimFinished *f, const char *subject, bool replace, TimError *err) {
    TimFile file;
    if (access(f->path, F_OK) != 0 && errno == ENOENT) return TIM_OK;
    TIM_TRY(tim_file_open(&file, f->path, err));
    const char *text = (const char *)file.data;
    const TimStatus status = read_text(f, text, text + file.size, subject, replace, err);
    tim_file_close(&file);
    return status;
}

static TimStatus cannot_write(const TimFinished *f, TimError *err) {
    return tim_fail(err, TIM_E_IO, "%s: cannot be written: %s", f->path, strerror(errno));
}

/* The file anew, of what was taken over; until it is whole the old one stays. */
static TimStatus write_taken(const TimFinished *f, const char *subject, TimError *err) {
    TimFileWriter writer;
    TIM_TRY(tim_file_writer_open(&writer, f->path, err));
    bool fine = fprintf(writer.stream, "%s%s\n", format_line, subject) > 0;
    for (size_t i = 0; fine && i < f->count; i++) fine = write_line(writer.stream, &f->settings[i]) == TIM_OK;
    const TimStatus status = fine ? tim_file_writer_commit(&writer, err) : cannot_write(f, err);
    tim_file_writer_abandon(&writer);
    return status;
}

TimStatus tim_finished_open(TimFinished *f, const char *path, const char *subject, bool replace, TimError *err) {
    *f = (TimFinished){0};
    TIM_TRY(tim_copy_text(&f->path, path, err));
    TIM_TRY(read_file(f, subject, replace, err));
    TIM_TRY(write_taken(f, subject, err));
    f->stream = fopen(path, "ab");
    return f->stream ? TIM_OK : cannot_write(f, err);
}

const TimFinishedSetting *tim_finished_find(const TimFinished *f, TimSampleMode mode, int steps, int seed_index) {
    for (size_t i = f->count; i-- > 0;) {
        const TimFinishedSetting *s = &f->settings[i];
        if (s->mode == mode && s->steps == steps && s->seed_index == seed_index) return s;
    }
    return NULL;
}

TimStatus tim_finished_add(TimFinished *f, const TimFinishedSetting *setting, TimError *err) {
    TIM_TRY(keep(f, setting, err));
    return write_line(f->stream, setting) == TIM_OK ? TIM_OK : cannot_write(f, err);
}

void tim_finished_close(TimFinished *f) {
    if (f->stream) fclose(f->stream);
    tim_free(f->path);
    tim_free(f->settings);
    *f = (TimFinished){0};
}
