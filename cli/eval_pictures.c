#include "eval_pictures.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "support.h"

/* ---- as JSON ---- */

static void print_key(const char *key) {
    printf(",\n  \"%s\": ", key);
}

static void print_text(const char *key, const char *value) {
    print_key(key);
    print_quoted(value);
}

/* Reads back to the same bits; null where nothing can be said. The program's locale is that of C. */
static void print_real(const char *key, double value) {
    print_key(key);
    if (isfinite(value))
        printf("%.17g", value);
    else
        fputs("null", stdout);
}

/* What was looked at, the opening brace with it. */
static void print_sets(const EvalPictures *what, int64_t count, const char *hash) {
    printf("{\n  \"count\": %" PRId64, count);
    print_text("pictures", what->pictures);
    print_text("reference", what->judge.reference);
    print_text("features", what->judge.classifier);
    print_text("features_sha256", hash);
}

static void print_json(const char *name, const TimJudgement *j) {
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"frechet", j->frechet},     {"frechet_limit", j->frechet_limit}, {"frechet_2000", j->frechet_2000},
                   {"kernel", j->kernel},       {"precision", j->precision},         {"recall", j->recall},
                   {"agreement", j->agreement}, {"nearest_distance", j->distance},   {"near_share", j->near}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s%s", name, numbers[i].key);
        print_real(key, numbers[i].value);
    }
}

/* ---- as a table ---- */

static void print_number(const char *format, int width, double value) {
    if (isnan(value))
        printf("%*s", width, "-");
    else
        printf(format, width, value);
}

static void print_share(int width, int digits, double value) {
    if (isnan(value))
        printf("%*s", width, "-");
    else
        printf("%*.*f %%", width - 2, digits, 100 * value);
}

/* A line of the table; what cannot be said is a dash. */
static void print_judgement(const char *name, const TimJudgement *j) {
    printf("%-15s", name);
    print_number("%*.4f", 11, j->frechet);
    print_number("%*.4f", 11, j->frechet_limit);
    print_number("%*.4f", 11, j->frechet_2000);
    print_number("%*.5f", 11, j->kernel);
    print_number("%*.3f", 11, j->precision);
    print_number("%*.3f", 8, j->recall);
    print_share(11, 1, j->agreement);
    print_number("%*.4f", 12, j->distance);
    print_share(11, 2, j->near);
    putchar('\n');
}

static void print_features(const EvalPictures *what, const char *hash) {
    printf("features of %s, SHA-256 %s\n", what->judge.classifier, hash);
}

/* ---- our numbers ---- */

static void print_all(const EvalPictures *what, int64_t count, const TimJudgement *drawn, const TimJudgement *real,
                      const char *hash) {
    if (what->json) {
        print_sets(what, count, hash);
        print_json("", drawn);
        print_json("real_", real);
        puts("\n}");
        return;
    }
    printf("%" PRId64 " pictures of %s against %s\n", count, what->pictures, what->judge.reference);
    printf("%15s%11s%11s%11s%11s%11s%8s%11s%12s%11s\n", "", "Frechet", "its limit", "first 2000", "kernel", "precision", "recall",
           "agreement", "distance", "nearer");
    print_judgement("these pictures", drawn);
    if (!isnan(real->kernel)) print_judgement("real pictures", real);
    print_features(what, hash);
}

/* Before the judge looks at all of the reference, which takes long. */
static TimStatus check_set(const char *source, TimError *err) {
    TimPictureSet *set;
    const TimStatus status = tim_picture_set_open(&set, source, err);
    tim_picture_set_close(set);
    return status;
}

TimStatus eval_pictures(const EvalPictures *what, TimError *err) {
    TimJudge *judge;
    TimJudgement real, drawn;
    int64_t count;
    char hash[TIM_HASH_TEXT];
    TimStatus status = check_set(what->pictures, err);
    if (status != TIM_OK) return status;
    status = tim_weights_hash(hash, what->judge.classifier, err); /* of what is read next, not of what lies there later */
    if (status != TIM_OK) return status;
    status = tim_judge_open(&judge, &what->judge, err);
    if (status == TIM_OK) status = tim_judge_set(judge, what->pictures, &count, &drawn, err);
    if (status == TIM_OK) status = tim_judge_floor(judge, count, &real, err);
    if (status == TIM_OK) print_all(what, count, &drawn, &real, hash);
    tim_judge_close(judge);
    return status;
}

/* ---- those of ADM's suite ---- */

/* Rarely: the network looks at a few pictures a second. */
static bool count_pictures(int64_t done, int64_t total, void *user) {
    int64_t *told = user;
    if (done / 1000 == *told / 1000) return true;
    *told = done;
    fprintf(stderr, "%" PRId64 " of %" PRId64 " pictures\n", done, total);
    return true;
}

static void print_adm_json(const EvalPictures *what, const TimAdmScores *s, const char *hash) {
    print_sets(what, s->pictures, hash);
    print_key("reference_count");
    printf("%" PRId64, s->reference);
    print_key("reference_statistics");
    fputs(s->reference_moments ? "true" : "false", stdout);
    print_real("inception_score", s->inception_score);
    print_real("fid", s->fid);
    print_real("sfid", s->sfid);
    print_real("precision", s->precision);
    print_real("recall", s->recall);
    puts("\n}");
}

static void print_adm(const EvalPictures *what, const TimAdmScores *s, const char *hash) {
    printf("%" PRId64 " pictures of %s against %" PRId64 " of %s%s, as ADM's evaluation suite\n", s->pictures, what->pictures,
           s->reference, what->judge.reference, s->reference_moments ? " and its statistics" : "");
    printf("Inception score %9.4f\nFID             %9.4f\nsFID            %9.4f\nprecision       %9.4f\nrecall          %9.4f\n",
           s->inception_score, s->fid, s->sfid, s->precision, s->recall);
    print_features(what, hash);
}

TimStatus eval_pictures_adm(const EvalPictures *what, TimError *err) {
    int64_t told = 0;
    const TimAdmOptions options = {.classifier = what->judge.classifier,
                                   .pictures = what->pictures,
                                   .reference = what->judge.reference,
                                   .threads = what->judge.threads,
                                   .isa = what->judge.isa,
                                   .progress = count_pictures,
                                   .user = &told};
    TimAdmScores s;
    char hash[TIM_HASH_TEXT];
    TimStatus status = tim_weights_hash(hash, what->judge.classifier, err);
    if (status == TIM_OK) status = tim_adm_suite(&options, &s, err);
    if (status == TIM_OK) (what->json ? print_adm_json : print_adm)(what, &s, hash);
    return status;
}
