/* Judging pictures: the classifier whose features they are compared in, and the comparison itself. */
#ifndef TIM_EVAL_H
#define TIM_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tim/config.h"
#include "tim/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the classifier ---- */

/* What an epoch of a classifier's training came to. */
typedef struct TimClassifierReport {
    int epoch, epochs;     /* done, and wanted */
    double loss;           /* mean over the epoch, with label smoothing */
    double train_accuracy; /* of the augmented pictures, as they were seen */
    double test_accuracy;  /* of the test pictures, after the epoch */
    double seconds;        /* since the call */
} TimClassifierReport;

/* Told after every epoch; `user` is the caller's. Return false to end the training: what is trained so far is written. */
typedef bool (*TimClassifierCallback)(const TimClassifierReport *report, void *user);

typedef struct TimClassifierOptions {
    const char *train,
        *test;            /* picture sets with labels, as tim_picture_set_open names them; of one size, 4 to 1024 pixels a side */
    const char *out;      /* the safetensors file to write, and folders above it; replaced only when it is whole */
    int epochs;           /* 1 ... 10000 */
    int batch;            /* 1 ... 65536 pictures a step */
    double learning_rate; /* above 0, at its highest: it rises over the first twentieth and falls as a cosine */
    uint64_t seed;        /* of weights, order and augmentation */
    bool no_mirror;       /* pictures are moved, not mirrored: of digits or letters */
    int threads;          /* 0: as many as OpenMP would use */
    const char *isa;      /* NULL: the best this processor has */
    TimClassifierCallback progress; /* NULL: nobody asks */
    void *user;
} TimClassifierOptions;

/* Fills in what the shipped classifier was trained with: Fashion-MNIST, 16 epochs, batches of 125, rate 3e-3, seed 0. */
TIM_API void tim_classifier_options_init(TimClassifierOptions *options);

/* Trains a classifier (AdamW, label smoothing 0.05, pictures shifted and, unless no_mirror says otherwise, mirrored) and writes its
 * weights with its test accuracy. `report`, unless NULL, gets the last epoch's. Borrows everything. Errors: TIM_E_ARGUMENT for an
 * option, a size or a number of classes out of range, for pictures without labels, two sets of different sizes, fewer training
 * pictures than a batch, and a gradient that is not finite, of which nothing is written; TIM_E_IO and TIM_E_FORMAT for the sets,
 * pictures of different sizes in one included; TIM_E_IO for `out`; TIM_E_UNSUPPORTED for an instruction set that this processor
 * lacks; TIM_E_MEMORY. */
TIM_API TimStatus tim_classifier_train(const TimClassifierOptions *options, TimClassifierReport *report, TimError *err);

/* ---- the judge ---- */

/* A classifier, real pictures to compare with, and everything that is measured of them alone. Opaque; one call at a time on one
 * judge. */
typedef struct TimJudge TimJudge;

typedef struct TimJudgeOptions {
    const char
        *classifier; /* file of tim_classifier_train, or the FID network's weights: Inception v3 with its official tensor names */
    const char *reference; /* picture set that quality is measured against, labelled or not, such as "fashion-mnist:test";
                             * "fashion-mnist" alone is that, and fashion-mnist:train for `training` */
    const char *training;  /* picture set the model has learned from: is it copying? NULL: not asked, unless `reference` says it */
    int64_t limit;         /* pictures read of the reference, 0: all */
    int threads;           /* 0: as many as OpenMP would use */
    const char *isa;       /* NULL: the best this processor has */
} TimJudgeOptions;

/* What is said of a set of pictures; NaN where it cannot be said. */
typedef struct TimJudgement {
    double frechet;       /* Frechet distance of the features to the reference's (arXiv 1706.08500 with this classifier) */
    double frechet_limit; /* what `frechet` would be of ever more pictures: twice it less the mean of those of two halves (arXiv
                           * 1911.07023), so that it compares between sets of different sizes; of at least two pictures a feature */
    double frechet_2000;  /* `frechet` of the first 2000 alone, which a run that draws as many of the same seed finds again; of a
                          * set that comes class by class, of 2000 spread over it; NaN of fewer */
    double kernel;        /* kernel distance, KID (arXiv 1801.01401), cubic polynomial, 100 subsets of at most 1000 */
    double precision;     /* share of the pictures inside the reference's manifold (arXiv 1904.06991, k = 3) */
    double recall;        /* share of the reference inside the pictures' manifold */
    double agreement;     /* share of the pictures whose predicted class is their label */
    double
        distance; /* median over the pictures of the distance to the nearest training picture: root mean square over the pixels of
                       * values from 0 to 1 */
    double
        near; /* share of the pictures nearer to a training picture than the nearest hundredth of the reference; NaN where that holds
                   * training pictures, or less than 99 */
} TimJudgement;

/* Reads classifier and pictures and measures the real ones. Pictures must have the size of a classifier of ours. Close with
 * tim_judge_close. Errors: TIM_E_ARGUMENT, TIM_E_IO and TIM_E_FORMAT for files that do not fit, named; TIM_E_UNSUPPORTED for an
 * instruction set that this processor lacks; TIM_E_MEMORY. *judge is NULL then. */
TIM_API TimStatus tim_judge_open(TimJudge **judge, const TimJudgeOptions *options, TimError *err);

/* Closes a judge; NULL is fine. */
TIM_API void tim_judge_close(TimJudge *judge);

/* Judges `count` >= 4 pictures, uint8 (count, H, W, C) of the reference's size; `labels` (count) may be NULL. Borrows everything.
 * The kernel distance's subsets depend on nothing but the count, so the same pictures give the same numbers.
 * Errors: TIM_E_ARGUMENT for too few pictures, another size or a class that the classifier does not know; TIM_E_MEMORY. */
TIM_API TimStatus tim_judge_pictures(TimJudge *judge, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                                     TimError *err);

/* Judges the picture set `source` names, as for tim_picture_set_open, with its labels if every picture has one; *count, unless
 * NULL, is how many there were. Errors: those of tim_judge_pictures, TIM_E_IO and TIM_E_FORMAT for the set. */
TIM_API TimStatus tim_judge_set(TimJudge *judge, const char *source, int64_t *count, TimJudgement *judgement, TimError *err);

/* TIM_E_ARGUMENT unless pictures of that size, and of that many classes, are what the judge can look at. */
TIM_API TimStatus tim_judge_check(const TimJudge *judge, int height, int width, int channels, int classes, TimError *err);

/* The judgement of real pictures, to hold `count` others against: as many of the training set, evenly spaced within each class,
 * against the reference, because every distance falls with the number of pictures; but agreement, distance and share are those of
 * the reference itself. A training set of fewer pictures has no Frechet distance, precision and recall, without one everything is
 * NaN. Errors: those of tim_judge_pictures. */
TIM_API TimStatus tim_judge_floor(TimJudge *judge, int64_t count, TimJudgement *floor, TimError *err);

/* Only the Frechet distance and the agreement, which take a small part of the time; the rest of the judgement is NaN. */
TIM_API TimStatus tim_judge_quickly(TimJudge *judge, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                                    TimError *err);

enum { TIM_HASH_TEXT = 65 };

/* The SHA-256 by which reports know the file or folder of weights at `path`, hexadecimal: of a file as sha256sum prints it, of an
 * index of shards that of all tensors by name. Errors: TIM_E_IO and TIM_E_FORMAT, naming the file; TIM_E_MEMORY. Any thread. */
TIM_API TimStatus tim_weights_hash(char out[TIM_HASH_TEXT], const char *path, TimError *err);

/* ---- ADM's evaluation suite ---- */

/* Told after every few pictures; `user` is the caller's. Return false to stop: the call then ends with TIM_E_CANCELLED. */
typedef bool (*TimAdmCallback)(int64_t done, int64_t total, void *user);

typedef struct TimAdmOptions {
    const char *classifier;  /* the FID network's weights: Inception v3 with its official tensor names, fc.weight too */
    const char *pictures;    /* the set to judge, as for tim_picture_set_open; sizes may differ */
    const char *reference;   /* the set to compare with */
    int threads;             /* 0: as many as OpenMP would use */
    const char *isa;         /* NULL: the best this processor has */
    TimAdmCallback progress; /* NULL: nobody asks */
    void *user;
} TimAdmOptions;

/* The suite's numbers. */
typedef struct TimAdmScores {
    double fid, sfid;
    double inception_score;
    double precision, recall;    /* 0 ... 1 */
    int64_t pictures, reference; /* how many of each were looked at */
    bool reference_moments;      /* the reference's means and covariances are those of its file, not of its pictures */
} TimAdmScores;

/* Computes what openai/guided-diffusion's evaluator.py prints, in its conventions (docs/report.md). An npz that holds mu, sigma,
 * mu_s and sigma_s gives these means and covariances instead of those of its pictures, as the published reference batches do.
 * Memory: 8 KiB for each picture, up to three times that while they are read, and about 0.5 GiB. Borrows everything.
 * Errors: TIM_E_ARGUMENT for fewer than 4 pictures and for options missing or out of range; TIM_E_UNSUPPORTED for an instruction
 * set that this processor lacks; TIM_E_IO and TIM_E_FORMAT for files that do not fit, named; TIM_E_CANCELLED; TIM_E_MEMORY. Files
 * may be hostile. */
TIM_API TimStatus tim_adm_suite(const TimAdmOptions *options, TimAdmScores *scores, TimError *err);

/* ---- the whole evaluation ---- */

/* One setting and seed is done. */
typedef struct TimEvalProgress {
    int done, total;
    TimSampleMode mode;
    int steps, seed_index;
    const TimJudgement *judgement;
    double pictures_per_second, seconds; /* of this setting; since the call */
} TimEvalProgress;

/* Told after each setting and seed; `user` is the caller's. Return false to stop: the call then ends with TIM_E_CANCELLED. */
typedef bool (*TimEvalCallback)(const TimEvalProgress *progress, void *user);

/* Writes what a class of the model is called into `text`, at most `size` bytes with the end. */
typedef void (*TimClassNamer)(char *text, size_t size, const TimConfig *config, int64_t class_index);

typedef struct TimEvalOptions {
    const char *model, *config;       /* as tim_model_open takes them: config NULL is found */
    const char *reference, *training; /* as TimJudgeOptions has them */
    const char *classifier;
    const char *out; /* folder for report.json, report.html and finished.txt, made unless it is there, with those above it */
    const int *steps;
    int step_count;  /* 1 ... 64 */
    bool diffusion;  /* also the diffusion mode of the same weights, the baseline */
    int64_t samples; /* pictures a setting and seed, at least 4 */
    int seeds;       /* 1 ... 100: seed, seed + 1, ... */
    uint64_t seed;   /* at most 2^63 - 1 - seeds */
    bool
        overwrite; /* false: an `out` that tells of other weights, pictures or settings, or holds a report alone, is TIM_E_ARGUMENT */
    int batch;     /* pictures evaluated at a time; 0: 100 */
    TimPrecision precision;
    int threads;              /* 0: as many as OpenMP would use */
    const char *isa;          /* NULL: the best this processor has */
    const char *date;         /* for the report, in the caller's words; NULL: none */
    TimClassNamer class_name; /* NULL: classes have no names */
    TimEvalCallback progress; /* NULL: nobody asks */
    void *user;
} TimEvalOptions;

/* Fills in: steps 1, 2, 4, 8, 32, 128 (static storage), both modes, 10000 samples, 3 seeds from 0, bf16. What is left to give:
 * model, reference, classifier and out. Any thread. */
TIM_API void tim_eval_options_init(TimEvalOptions *options);

/* Draws and judges every setting and writes the reports. A setting and seed that an earlier call with the same weights, pictures
 * and settings has done into `out`, ended or not, is taken over. Borrows everything. Errors: as tim_model_open, tim_sample and
 * tim_judge_open; TIM_E_ARGUMENT for options out of range or missing; TIM_E_UNSUPPORTED for a model on latents or of texts;
 * TIM_E_IO for `out`, also where another call writes to it; TIM_E_CANCELLED. Different calls are independent, but for `out`. */
TIM_API TimStatus tim_eval(const TimEvalOptions *options, TimError *err);

/* Writes a page to `path` that needs nothing else: the PNG at `sheet`, and quality by steps from `report`, the report.json of an
 * earlier evaluation of `model` (NULL: of any). Errors: TIM_E_ARGUMENT for a report of other weights; TIM_E_IO and TIM_E_FORMAT,
 * naming the file; TIM_E_MEMORY. Any thread. */
TIM_API TimStatus tim_report_write_demo(const char *report, const TimModel *model, const char *sheet, const char *path,
                                        TimError *err);

#ifdef __cplusplus
}
#endif
#endif
