/* What pipelines promise: the parts are found, fit each other and are put together as published; a picture does not depend on its
 * batch. The oracle is the parts called one by one, each of which is held against golden values elsewhere. Runs from the root of
 * the sources; writes into a temporary directory only. */
#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "fixture.h"
#include "io/tensor_set.h"
#include "model/published.h"
#include "near.h"
#include "sample/pipeline.h"
#include "sample/sampler.h"
#include "small_parts.h"
#include "text/tokenizer.h"
#include "tim/facts.h"
#include "transport/transport.h"

static const TimModelOptions one_thread = {.precision = TIM_PRECISION_F32, .threads = 1};

static TimPipeline *open_parts(const TimPipelineParts *parts) {
    TimPipeline *pipeline;
    assert_ok(tim_pipeline_open(&pipeline, parts, &one_thread, &err));
    return pipeline;
}

static TimPipeline *open_text(void) {
    return open_parts(&(TimPipelineParts){.model = in_folder("text")});
}

static TimSampleOptions options_for(const char *const *prompts, int64_t count, int steps) {
    TimSampleOptions options;
    tim_sample_options_init(&options);
    options.prompts = prompts, options.count = count, options.steps = steps;
    options.seed = 3, options.rounding = TIM_IMAGE_ROUNDING_T2I;
    return options;
}

/* ---- against the parts ---- */

/* The tokens of the prompt behind the one that begins a text. */
static int64_t tokens_of(const char *prompt, int64_t ids[LONGEST]) {
    TimTokenizer *tokenizer;
    TimTokenIds list = {0};
    assert_ok(tim_tokenizer_open(&tokenizer, in_folder("text/text_encoder"), &err));
    ids[0] = tim_tokenizer_bos(tokenizer);
    assert_ok(tim_tokenizer_encode(tokenizer, prompt, strlen(prompt), &list, &err));
    for (size_t i = 0; i < list.count; i++) ids[i + 1] = list.ids[i];
    const int64_t count = (int64_t)list.count + 1;
    tim_token_ids_done(&list);
    tim_tokenizer_close(tokenizer);
    return count;
}

/* One guided picture by hand: captions of `prompt` and of the negative one padded to the longer's length, sampler, decoder,
 * bytes. */
static void draw_by_hand(const char *prompt, const TimSampleOptions *o, uint8_t pixels[SIZE * SIZE * 3]) {
    static float captions[2 * LONGEST * WIDTH], noise[LATENTS * GRID * GRID], chw[3 * SIZE * SIZE];
    double state[LATENTS * GRID * GRID];
    int64_t ids[2 * LONGEST] = {0}, empty[LONGEST];
    const int64_t lengths[2] = {tokens_of(prompt, ids), tokens_of(o->negative_prompt ? o->negative_prompt : "", empty)};
    const int64_t longer = lengths[0] > lengths[1] ? lengths[0] : lengths[1],
                  tokens = o->caption_tokens > longer ? o->caption_tokens : longer;
    TimGemma3 gemma;
    TimModel *model;
    TimAutoencoder *autoencoder;
    memcpy(ids + tokens, empty, (size_t)lengths[1] * sizeof *ids);
    assert_ok(tim_gemma3_open(&gemma, in_folder("text/text_encoder"), &(TimNetworkOptions){.threads = 1}, &err));
    assert_ok(tim_gemma3_encode(&gemma, ids, lengths, 2, tokens, TIM_HIDDEN_LAST, captions, &err));
    assert_ok(tim_model_open(&model, in_folder("text"), NULL, &one_thread, &err));
    const TimAutoencoderOptions decoder = {.isa = tim_isa_best(), .threads = 1, .decoder = true};
    assert_ok(tim_autoencoder_open(&autoencoder, in_folder("text/vae"), &decoder, &err));

    tim_sampler_noise(noise, LATENTS * GRID * GRID, (TimNoiseKey){o->seed, o->first}, 0);
    for (int i = 0; i < LATENTS * GRID * GRID; i++) state[i] = noise[i];
    const TimSamplerBatch batch = {.batch = 1,
                                   .height = GRID,
                                   .width = GRID,
                                   .state = state,
                                   .condition = {.caption = captions, .caption_tokens = (int)tokens},
                                   .null = {.caption = captions + tokens * WIDTH, .caption_tokens = (int)tokens}};
    TimSamplerOptions sampler = tim_sampler_options_default();
    sampler.steps = o->steps, sampler.guidance = o->guidance, sampler.guidance_high = o->guidance_high;
    assert_ok(tim_sampler_run(model, &batch, &sampler, NULL, &err));
    for (int i = 0; i < LATENTS * GRID * GRID; i++) noise[i] = (float)(state[i] / 0.41407);
    assert_ok(tim_autoencoder_decode(autoencoder, 1, GRID, GRID, noise, chw, &err));
    for (int i = 0; i < SIZE * SIZE; i++)
        for (int c = 0; c < 3; c++) {
            const float value = 127.5F * chw[c * SIZE * SIZE + i] + 128;
            pixels[i * 3 + c] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
        }
    tim_autoencoder_close(autoencoder);
    tim_model_close(model);
    tim_gemma3_done(&gemma);
}

static void test_draw_is_what_the_parts_make(void **state) {
    (void)state;
    static uint8_t expected[SIZE * SIZE * 3];
    const char *const prompts[] = {"a red cube"};
    TimPipeline *pipeline = open_text();
    TimSampleOptions options = options_for(prompts, 1, 3);
    options.guidance = 2.5, options.guidance_high = 1.5, options.first = 5;
    TimPictures pictures;
    TimSampleInfo info;
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, &info, &err));
    assert_int_equal(pictures.height, SIZE), assert_int_equal(pictures.width, SIZE), assert_int_equal(pictures.channels, 3);
    assert_int_equal(info.evaluations, 6);
    draw_by_hand(prompts[0], &options, expected);
    assert_same_pixels(pictures.pixels, expected, sizeof expected, 1); /* a rounding */
    tim_pictures_done(&pictures);
    options.negative_prompt = "two dogs and a tree"; /* longer than the prompt */
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, &info, &err));
    assert_memory_not_equal(pictures.pixels, expected, sizeof expected);
    draw_by_hand(prompts[0], &options, expected);
    assert_same_pixels(pictures.pixels, expected, sizeof expected, 1);
    tim_pictures_done(&pictures);
    tim_pipeline_close(pipeline);
}

/* One picture of "a red cube" by the parts in text/ but for the text encoder, and its state before the last layer if asked for. */
static void draw_with_encoder(const char *encoder, bool last, uint8_t pixels[SIZE * SIZE * 3]) {
    const char *const prompts[] = {"a red cube"};
    const TimSampleOptions options = options_for(prompts, 1, 1);
    TimPictures pictures;
    TimConfig config = text_config();
    config.use_last_hidden_state = last;
    assert_ok(tim_config_write(&config, in_folder("hidden.yaml"), &err));
    TimPipeline *pipeline =
        open_parts(&(TimPipelineParts){.model = in_folder("text"), .config = in_folder("hidden.yaml"), .text_encoder = encoder});
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err));
    memcpy(pixels, pictures.pixels, SIZE * SIZE * 3);
    tim_pictures_done(&pictures);
    tim_pipeline_close(pipeline);
}

/* Gemma and T5, whose texts end with a token of their own, each with its last state and the one before. */
static void test_draw_either_state_of_either_encoder_differs(void **state) {
    (void)state;
    enum { BYTES = SIZE * SIZE * 3 };
    static uint8_t pixels[4][BYTES];
    char gemma[PATH_BYTES], t5[PATH_BYTES];
    make_t5("t5");
    snprintf(gemma, sizeof gemma, "%s", in_folder("text/text_encoder")), snprintf(t5, sizeof t5, "%s", in_folder("t5"));
    for (int i = 0; i < 4; i++) draw_with_encoder(i < 2 ? gemma : t5, i % 2 == 0, pixels[i]);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) assert_memory_not_equal(pixels[i], pixels[j], BYTES);
}

/* Prompts of several lengths, some side by side, twice the same with other noise: each as if alone. */
static void test_draw_picture_does_not_depend_on_its_batch(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", "a red cube", "", "two dogs", "a red cube"};
    enum { COUNT = sizeof prompts / sizeof *prompts };
    TimPipeline *pipeline = open_text();
    TimPictures together, alone;
    TimSampleOptions options = options_for(prompts, COUNT, 2);
    options.guidance = 2, options.guidance_high = 2, options.batch = 4;
    assert_ok(tim_pipeline_draw(pipeline, &options, &together, NULL, &err));
    const size_t bytes = (size_t)SIZE * SIZE * 3;
    for (int i = 0; i < COUNT; i++) {
        options.prompts = &prompts[i], options.count = 1, options.first = i;
        assert_ok(tim_pipeline_draw(pipeline, &options, &alone, NULL, &err));
        assert_same_pixels(together.pixels + (size_t)i * bytes, alone.pixels, bytes, 1);
        tim_pictures_done(&alone);
    }
    assert_memory_not_equal(together.pixels, together.pixels + 4 * bytes, bytes);
    tim_pictures_done(&together);
    tim_pipeline_close(pipeline);
}

/* Padded to a length, a caption is what a longer prompt beside it would have made of it in the published runs. */
static void test_draw_padded_captions_are_seen(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", "two dogs"};
    TimPipeline *pipeline = open_text();
    TimPictures own, padded;
    const size_t bytes = (size_t)SIZE * SIZE * 3;
    static uint8_t expected[SIZE * SIZE * 3];
    TimSampleOptions options = options_for(prompts, 2, 2);
    options.guidance = 2, options.guidance_high = 2;
    assert_ok(tim_pipeline_draw(pipeline, &options, &own, NULL, &err));
    options.caption_tokens = LONGEST;
    assert_ok(tim_pipeline_draw(pipeline, &options, &padded, NULL, &err));
    assert_memory_not_equal(own.pixels, padded.pixels, bytes);
    options.negative_prompt = ""; /* by hand the null caption has the length that is asked for */
    draw_by_hand(prompts[0], &options, expected);
    assert_same_pixels(padded.pixels, expected, bytes, 1);
    tim_pictures_done(&own), tim_pictures_done(&padded);
    options.caption_tokens = LONGEST + 1;
    assert_int_equal(tim_pipeline_draw(pipeline, &options, &own, NULL, &err), TIM_E_ARGUMENT);
    assert_says("captions are to have 13 tokens; the model's have up to 12");
    tim_pipeline_close(pipeline);
}

static bool count_call(int64_t done, int64_t total, void *calls) {
    (void)done, (void)total;
    ++*(int *)calls;
    return true;
}

/* Captions of one length share evaluations wherever they stand; each picture keeps its place, and the noise of its own seed. */
static void test_draw_equal_lengths_share_evaluations(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", "two dogs", "a red cube", "two dogs", "a red cube"};
    const uint64_t seeds[] = {3, 3, 4, 5, 3};
    enum { COUNT = sizeof prompts / sizeof *prompts, STEPS = 2 };
    int64_t ids[LONGEST];
    assert_int_not_equal(tokens_of(prompts[0], ids), tokens_of(prompts[1], ids));
    TimPipeline *pipeline = open_text();
    TimPictures together, alone;
    TimSampleOptions options = options_for(prompts, COUNT, STEPS);
    int calls = 0;
    options.seeds = seeds, options.progress = count_call, options.user = &calls;
    assert_ok(tim_pipeline_draw(pipeline, &options, &together, NULL, &err));
    assert_int_equal(calls, 2 * STEPS); /* two lengths, two batches */
    const size_t bytes = (size_t)SIZE * SIZE * 3;
    options.seeds = NULL, options.count = 1;
    for (int i = 0; i < COUNT; i++) {
        options.prompts = &prompts[i], options.first = i, options.seed = seeds[i];
        assert_ok(tim_pipeline_draw(pipeline, &options, &alone, NULL, &err));
        assert_same_pixels(together.pixels + (size_t)i * bytes, alone.pixels, bytes, 1);
        tim_pictures_done(&alone);
    }
    tim_pictures_done(&together);
    tim_pipeline_close(pipeline);
}

static void test_draw_other_prompt_other_picture_and_sides_are_free(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", "two dogs"};
    TimPipeline *pipeline = open_text();
    TimPictures a, b;
    TimSampleOptions options = options_for(&prompts[0], 1, 1);
    options.height = 3 * FACTOR, options.width = FACTOR;
    assert_int_equal(tim_pipeline_size_multiple(pipeline), FACTOR);
    assert_ok(tim_pipeline_draw(pipeline, &options, &a, NULL, &err));
    options.prompts = &prompts[1];
    assert_ok(tim_pipeline_draw(pipeline, &options, &b, NULL, &err));
    assert_int_equal(a.height, 3 * FACTOR), assert_int_equal(a.width, FACTOR);
    assert_memory_not_equal(a.pixels, b.pixels, (size_t)3 * 3 * FACTOR * FACTOR);
    tim_pictures_done(&a), tim_pictures_done(&b);
    tim_pipeline_close(pipeline);
}

static void test_draw_classes_through_latents_have_the_decoders_size(void **state) {
    (void)state;
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){.model = in_folder("class")});
    TimPictures pictures;
    TimSampleOptions options = options_for(NULL, 2, 2);
    options.guidance = 2;
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err));
    assert_int_equal(pictures.height, 8 * SIDE);
    const size_t bytes = (size_t)3 * 64 * SIDE * SIDE;
    assert_memory_not_equal(pictures.pixels, pictures.pixels + bytes, bytes);
    TimPictures bound;
    options.memory = (size_t)1 << 40; /* what there is rests between its turns */
    assert_ok(tim_pipeline_draw(pipeline, &options, &bound, NULL, &err));
    assert_memory_equal(pictures.pixels, bound.pixels, 2 * bytes);
    tim_pictures_done(&pictures), tim_pictures_done(&bound);
    tim_pipeline_close(pipeline);
}

/* Draws within ever less memory until not even the smallest strips fit: the same picture each time, and the last text of `err` says
 * so. Returns how often. */
static int draw_within_less(TimPipeline *pipeline, TimSampleOptions options) {
    TimPictures whole, bound;
    TimSampleInfo info;
    int drawn = 0;
    assert_ok(tim_pipeline_draw(pipeline, &options, &whole, NULL, &err));
    options.memory = (size_t)1 << 40;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    assert_true(info.memory > 0);
    for (options.memory = info.memory;; options.memory = info.memory - 1) {
        const TimStatus status = tim_pipeline_plan(pipeline, &options, &info, &err);
        if (status == TIM_E_MEMORY) break;
        assert_int_equal(status, TIM_OK);
        assert_true(info.memory <= options.memory);
        assert_ok(tim_pipeline_draw(pipeline, &options, &bound, NULL, &err));
        assert_same_pixels(bound.pixels, whole.pixels, (size_t)(whole.height * whole.width * 3), 1);
        tim_pictures_done(&bound);
        drawn++;
    }
    assert_int_equal(tim_pipeline_draw(pipeline, &options, &bound, NULL, &err), TIM_E_MEMORY);
    assert_says("for the decoder in its smallest strips");
    tim_pictures_done(&whole);
    return drawn;
}

static void test_draw_memory_bound_makes_strips_and_the_same_picture(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube"};
    const int64_t label = 1;
    TimSampleOptions options = options_for(prompts, 1, 1);
    options.height = 8 * FACTOR;
    TimPipeline *pipeline = open_text();
    assert_true(draw_within_less(pipeline, options) >= 3); /* whole, and strips of several sizes */
    tim_pipeline_close(pipeline);
    options = options_for(NULL, 1, 1);
    options.labels = &label, options.height = 128, options.width = 96;
    pipeline = open_parts(&(TimPipelineParts){.model = in_folder("class")});
    assert_true(draw_within_less(pipeline, options) >= 3); /* a KL */
    tim_pipeline_close(pipeline);
}

/* One picture of class 1 in one step from the noise of (3, 0), its latent decoded in tiles. */
static void draw_tiled_by_hand(int height, int width, uint8_t *pixels) {
    enum { CHANNELS = 4, MOST = CHANNELS * 16 * 16 };
    static float latent[MOST], chw[3 * 128 * 128];
    double state[MOST];
    const int64_t label = 1;
    const int h = height / 8, w = width / 8, count = CHANNELS * h * w;
    TimModel *model;
    TimAutoencoder *autoencoder;
    TimImage image;
    assert_true(count <= MOST);
    assert_ok(tim_model_open(&model, in_folder("class"), NULL, &one_thread, &err));
    const TimAutoencoderOptions decoder = {.isa = tim_isa_best(), .threads = 1, .decoder = true};
    assert_ok(tim_autoencoder_open(&autoencoder, in_folder("class/vae"), &decoder, &err));
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(autoencoder));
    tim_sampler_noise(latent, (size_t)count, (TimNoiseKey){3, 0}, 0);
    for (int i = 0; i < count; i++) state[i] = latent[i];
    const TimSamplerBatch batch = {.batch = 1, .height = h, .width = w, .state = state, .condition = {.labels = &label}};
    const TimSamplerOptions one_step = tim_sampler_options_default();
    assert_ok(tim_sampler_run(model, &batch, &one_step, NULL, &err));
    for (int i = 0; i < count; i++) latent[i] = (float)(state[i] / 0.18215);
    assert_ok(tim_autoencoder_decode_tiled(autoencoder, &tiling, 1, h, w, latent, chw, &err));
    assert_ok(tim_image_from_chw(&image, chw, 3, height, width, TIM_IMAGE_ROUNDING_T2I, &err));
    memcpy(pixels, image.pixels, (size_t)height * (size_t)width * 3);
    tim_image_done(&image);
    tim_autoencoder_close(autoencoder);
    tim_model_close(model);
}

/* A picture to start from goes through the encoder in tiles as well. */
static void test_encode_tiled_is_what_the_tiles_make(void **state) {
    (void)state;
    enum { HEIGHT = 128, ACROSS = 96, COUNT = 4 * 16 * 12 };
    static uint8_t pixels[HEIGHT * ACROSS * 3];
    static float chw[HEIGHT * ACROSS * 3], whole[COUNT], tiled[COUNT], expected[COUNT];
    for (int i = 0; i < HEIGHT * ACROSS * 3; i++) pixels[i] = (uint8_t)(i * 37 % 251);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < HEIGHT * ACROSS; i++) chw[c * HEIGHT * ACROSS + i] = (float)(pixels[3 * i + c] / 127.5 - 1);
    const TimImage init = {.height = HEIGHT, .width = ACROSS, .channels = 3, .pixels = pixels};
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){.model = in_folder("class")});
    assert_ok(tim_pipeline_encode(pipeline, &init, HEIGHT, ACROSS, false, whole, &err));
    assert_ok(tim_pipeline_encode(pipeline, &init, HEIGHT, ACROSS, true, tiled, &err));
    TimAutoencoder *encoder;
    assert_ok(tim_pipeline_encoder(pipeline, &encoder, &err));
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(encoder));
    assert_ok(tim_autoencoder_encode_tiled(encoder, &tiling, 1, HEIGHT, ACROSS, chw, expected, NULL, &err));
    for (int i = 0; i < COUNT; i++) expected[i] *= 0.18215F;
    for (int i = 0; i < COUNT; i++) assert_near(tiled[i], expected[i], 1e-5);
    assert_memory_not_equal(tiled, whole, sizeof whole);
    tim_pipeline_close(pipeline);
}

/* The published tiled mode takes less memory and gives another picture than the whole; tiles of 64 pixels here. */
static void test_draw_tiled_is_what_the_tiles_make(void **state) {
    (void)state;
    enum { HEIGHT = 128, ACROSS = 96, BYTES = HEIGHT * ACROSS * 3 };
    static uint8_t expected[BYTES];
    const int64_t label = 1;
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){.model = in_folder("class")});
    TimPictures whole, tiled, bound;
    TimSampleInfo info;
    TimSampleOptions options = options_for(NULL, 1, 1);
    options.labels = &label, options.height = HEIGHT, options.width = ACROSS;
    assert_ok(tim_pipeline_draw(pipeline, &options, &whole, NULL, &err));
    options.tiled = true;
    assert_ok(tim_pipeline_draw(pipeline, &options, &tiled, &info, &err));
    assert_false(info.tiled_without_effect);
    draw_tiled_by_hand(HEIGHT, ACROSS, expected);
    assert_same_pixels(tiled.pixels, expected, BYTES, 1);
    assert_memory_not_equal(tiled.pixels, whole.pixels, BYTES);
    options.memory = (size_t)1 << 40;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    options.memory = info.memory;
    assert_ok(tim_pipeline_draw(pipeline, &options, &bound, NULL, &err));
    assert_memory_equal(tiled.pixels, bound.pixels, BYTES);
    options.memory = (size_t)1 << 40, options.height = options.width = 2048;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    options.memory = info.memory, options.tiled = false; /* strips need more, for the maps between them are whole */
    assert_int_equal(tim_pipeline_plan(pipeline, &options, &info, &err), TIM_E_MEMORY);
    assert_says("or decode in tiles");
    options.tiled = true, options.memory = 0, options.height = options.width = 64;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    assert_true(info.tiled_without_effect);
    tim_pictures_done(&whole), tim_pictures_done(&tiled), tim_pictures_done(&bound);
    tim_pipeline_close(pipeline);
}

/* Of each picture the last stage is the picture; in diffusion mode the first is what a single step draws, since both ask the
 * network for F at (T_max, T_max). */
static void test_draw_stages_from_one_step_to_the_picture(void **state) {
    (void)state;
    enum { STEPS = 3, COUNT = 3 };
    const char *const prompts[COUNT] = {"a red cube", "a red cube", "two dogs"};
    TimPipeline *pipeline = open_text();
    TimPictures plain, single, stages;
    TimSampleInfo info;
    TimSampleOptions options = options_for(prompts, COUNT, 1);
    options.mode = TIM_SAMPLE_DIFFUSION;
    assert_ok(tim_pipeline_draw(pipeline, &options, &single, NULL, &err));
    options.steps = STEPS;
    assert_ok(tim_pipeline_draw(pipeline, &options, &plain, NULL, &err));
    options.stages = true;
    assert_ok(tim_pipeline_draw(pipeline, &options, &stages, &info, &err));
    assert_int_equal(info.evaluations, STEPS);
    assert_int_equal(stages.count, COUNT * STEPS);
    const size_t bytes = (size_t)SIZE * SIZE * 3;
    for (size_t i = 0; i < COUNT; i++) {
        const uint8_t *row = stages.pixels + i * STEPS * bytes;
        assert_same_pixels(row, single.pixels + i * bytes, bytes, 1);
        assert_same_pixels(row + (STEPS - 1) * bytes, plain.pixels + i * bytes, bytes, 0);
        assert_memory_not_equal(row + bytes, row, bytes);
    }
    tim_pictures_done(&plain), tim_pictures_done(&single), tim_pictures_done(&stages);
    tim_pipeline_close(pipeline);
}

/* Stages add pictures and latents, and no decoder's memory. */
static void test_draw_stages_stay_within_memory(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube"};
    TimPipeline *pipeline = open_text();
    TimPictures whole, bound;
    TimSampleInfo info;
    TimSampleOptions options = options_for(prompts, 1, 4);
    options.height = 8 * FACTOR, options.memory = (size_t)1 << 40;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    const size_t one = info.memory;
    options.stages = true;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    const size_t picture = (size_t)8 * FACTOR * SIZE * 3, latent = sizeof(float) * 8 * GRID * LATENTS;
    assert_int_equal(info.memory, one + 3 * picture + 4 * latent);
    assert_ok(tim_pipeline_draw(pipeline, &options, &whole, NULL, &err));
    options.memory = info.memory - 1; /* the decoder in strips */
    assert_ok(tim_pipeline_draw(pipeline, &options, &bound, NULL, &err));
    assert_same_pixels(bound.pixels, whole.pixels, 4 * picture, 1);
    tim_pictures_done(&whole), tim_pictures_done(&bound);
    tim_pipeline_close(pipeline);
}

/* ---- finding the parts ---- */

static void test_open_finds_parts_by_published_names(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube"};
    const TimSampleOptions options = options_for(prompts, 1, 1);
    TimPictures pictures, others;
    TimPipeline *pipeline = open_text();
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err));
    tim_pipeline_close(pipeline);
    char encoder[PATH_BYTES], decoder[PATH_BYTES];
    snprintf(encoder, sizeof encoder, "%s/text/text_encoder/model.safetensors", folder);
    snprintf(decoder, sizeof decoder, "%s/text/vae/diffusion_pytorch_model.safetensors", folder);
    const TimPipelineParts ways[] = {
        {.model = in_folder("hub")},
        {.model = in_folder("hub/config.yaml")},
        {.model = in_folder("hub/model.safetensors"), .autoencoder = in_folder("text/vae")},
        {.model = in_folder("hub/model.safetensors"), .text_encoder = encoder, .autoencoder = decoder},
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        pipeline = open_parts(&ways[i]);
        assert_ok(tim_pipeline_draw(pipeline, &options, &others, NULL, &err));
        assert_memory_equal(pictures.pixels, others.pixels, (size_t)SIZE * SIZE * 3);
        tim_pictures_done(&others);
        tim_pipeline_close(pipeline);
    }
    tim_pictures_done(&pictures);
}

static void assert_no_pipeline(const TimPipelineParts *parts, TimStatus status, const char *const *says) {
    TimPipeline *pipeline;
    assert_int_equal(tim_pipeline_open(&pipeline, parts, &one_thread, &err), status);
    assert_null(pipeline);
    for (; *says; says++) assert_says(*says);
}

/* Four channels are no picture's: the folder's autoencoder is found though the configuration names none. */
static void test_open_latents_of_an_autoencoder_nobody_names(void **state) {
    (void)state;
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.in_channels = 4;
    save_model("unnamed", &config);
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("unnamed")}, TIM_E_IO,
                       (const char *const[]){"autoencoder of the model", "unnamed/vae", "--autoencoder", NULL});
    put_vae("unnamed/vae", "sd_vae_tiny");
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){.model = in_folder("unnamed")});
    TimPictures pictures;
    const TimSampleOptions options = options_for(NULL, 1, 1);
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err));
    assert_int_equal(pictures.height, 8 * SIDE);
    tim_pictures_done(&pictures);
    tim_pipeline_close(pipeline);
}

static void test_open_missing_and_unfit_parts_named(void **state) {
    (void)state;
    TimConfig config = text_config();
    save_model("bare", &config);
    assert_no_pipeline(
        &(TimPipelineParts){.model = in_folder("bare")}, TIM_E_IO,
        (const char *const[]){"text encoder maker/gemma", "bare/text_encoder", "bare/gemma", "--text-encoder", NULL});
    const char *const encoder = in_folder("text/text_encoder");
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("bare"), .text_encoder = encoder}, TIM_E_IO,
                       (const char *const[]){"autoencoder maker/dc-ae-f32", "bare/vae", "bare/dc-ae-f32", "--autoencoder", NULL});
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("text"), .autoencoder = in_folder("class/vae")}, TIM_E_FORMAT,
                       (const char *const[]){"class/vae", "4 channels", "the model makes 8", NULL});
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("text"), .text_encoder = in_folder("class/vae")}, TIM_E_UNSUPPORTED,
                       (const char *const[]){"class/vae/config.json", "model_type is 'missing'", NULL});
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("nowhere")}, TIM_E_IO, (const char *const[]){"nowhere", NULL});
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("text/config.yaml"), .config = in_folder("class/config.yaml")},
                       TIM_E_ARGUMENT, (const char *const[]){"text/config.yaml is a configuration", NULL});
    mkdir(in_folder("alone"), 0777);
    copy_file("configs/tim_b_p4.yaml", "alone/tim.yaml");
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("alone/tim.yaml")}, TIM_E_IO,
                       (const char *const[]){"is looked for weights beside it", NULL});
    config.network.cap_feat_dim = 16;
    save_model("narrow", &config);
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("narrow"), .text_encoder = in_folder("text/text_encoder")},
                       TIM_E_FORMAT, (const char *const[]){"32 columns", "wants 16", NULL});
}

/* Names of the official files' tensors, as a table of the library has them, and those of the networks that the configurations
 * make. */
static void test_open_failures_name_the_published_file(void **state) {
    (void)state;
    static const char *const published[][2] = {
        {"tim_b_p4", "the configuration wants TiM-B/4, classes at 256"},
        {"tim_xl_p2_256", "the configuration wants GoodEnough/TiM-C2I: c2i_model_256.safetensors"},
        {"tim_xl_p1_512", "the configuration wants GoodEnough/TiM-C2I: c2i_model_512.safetensors"},
        {"tim_xl_p1_t2i", "the configuration wants GoodEnough/TiM-T2I: t2i_model.bin"}};
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        char config[NAME_BYTES], copy[NAME_BYTES];
        snprintf(config, sizeof config, "configs/%s.yaml", published[i][0]);
        snprintf(copy, sizeof copy, "%s/config.yaml", published[i][0]);
        mkdir(in_folder(published[i][0]), 0777);
        copy_file(config, copy);
        assert_no_pipeline(&(TimPipelineParts){.model = in_folder(published[i][0])}, TIM_E_IO,
                           (const char *const[]){"the folder has none of", published[i][1], NULL});
    }
    assert_no_pipeline(
        &(TimPipelineParts){.model = in_folder("text/model.safetensors"), .config = in_folder("tim_b_p4/config.yaml")},
        TIM_E_FORMAT,
        (const char *const[]){"text/model.safetensors: the tensor '", "the configuration wants TiM-B/4, classes at 256 pixels",
                              NULL});
}

static void assert_same_facts(const TimConfig *a, const TimConfig *b) {
    TimFacts x, y;
    tim_facts_of_config(&x, a), tim_facts_of_config(&y, b);
    assert_int_equal(x.count, y.count);
    for (int i = 0; i < x.count; i++) {
        assert_string_equal(x.items[i].key, y.items[i].key);
        assert_string_equal(x.items[i].value, y.items[i].value);
    }
    assert_true(a->use_last_hidden_state == b->use_last_hidden_state && a->max_seq_length == b->max_seq_length);
    assert_true(a->transport.p_mean == b->transport.p_mean && a->transport.p_std == b->transport.p_std);
    const TimTransitionConfig *s = &a->transition, *t = &b->transition;
    assert_true(s->diffusion_ratio == t->diffusion_ratio && s->consistency_ratio == t->consistency_ratio);
    assert_true(s->derivative_type == t->derivative_type && s->differential_epsilon == t->differential_epsilon);
    assert_true(s->weight_time_type == t->weight_time_type && s->weight_time_tangent == t->weight_time_tangent);
}

/* The official weights come without a configuration, and are known by their tensors. */
static void test_published_weights_bring_their_configuration(void **state) {
    (void)state;
    static const char *const names[] = {"tim_b_p4", "tim_xl_p2_256", "tim_xl_p1_512", "tim_xl_p1_t2i"};
    static TimStoredTensor tensors[MOST_TENSORS];
    static char texts[MOST_TENSORS][TIM_OLD_NAME_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char manifest[64], yaml[PATH_BYTES];
        TimConfig found, wanted;
        snprintf(manifest, sizeof manifest, "%s.json", names[i]);
        snprintf(yaml, sizeof yaml, "configs/%s.yaml", names[i]);
        mkdir(in_folder("official"), 0777);
        write_zeros(in_folder("official/any.safetensors"), tensors, read_manifest(manifest, tensors, texts));
        assert_ok(tim_pipeline_read_config(&found, &(TimPipelineParts){.model = in_folder("official")}, &err));
        assert_ok(tim_config_read(&wanted, yaml, &err));
        assert_same_facts(&found, &wanted);
        tim_config_done(&found), tim_config_done(&wanted);
    }
    TimModel *model;
    const TimModelOptions options = {.precision = TIM_PRECISION_BF16, .threads = 1};
    assert_ok(tim_model_open(&model, in_folder("official/any.safetensors"), NULL, &options, &err));
    assert_int_equal(tim_model_config(model)->network.cap_feat_dim, 1152);
    tim_model_close(model);
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("official")}, TIM_E_IO,
                       (const char *const[]){"the text encoder google/gemma-3-1b-it is not there", NULL});
    write_zeros(in_folder("official/more.safetensors"), tensors, read_manifest("tim_b_p4.json", tensors, texts));
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("official")}, TIM_E_ARGUMENT,
                       (const char *const[]){"any.safetensors", "more.safetensors", NULL}); /* which of them, not a configuration */
    assert_int_equal(truncate(in_folder("official/more.safetensors"), 4000), 0);
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("official/more.safetensors")}, TIM_E_FORMAT,
                       (const char *const[]){"more.safetensors", NULL});
    assert_int_equal(remove(in_folder("official/more.safetensors")), 0);
    TimConfig own, found;
    char yaml[PATH_BYTES];
    snprintf(yaml, sizeof yaml, "configs/tim_xl_p1_t2i.yaml");
    assert_ok(tim_config_read(&own, yaml, &err));
    own.max_seq_length = 77; /* one beside the weights goes first */
    assert_ok(tim_config_write(&own, in_folder("official/config.yaml"), &err));
    assert_ok(tim_pipeline_read_config(&found, &(TimPipelineParts){.model = in_folder("official")}, &err));
    assert_int_equal(found.max_seq_length, 77);
    tim_config_done(&own), tim_config_done(&found);
    assert_int_equal(remove(in_folder("official/config.yaml")), 0);
    assert_int_equal(remove(in_folder("official/any.safetensors")), 0);
}

/* The official file of sd-vae-ft-ema is of 2022. */
static void test_published_name_found_whatever_attention_is_called(void **state) {
    (void)state;
    static TimStoredTensor tensors[MOST_TENSORS];
    static char names[MOST_TENSORS][TIM_OLD_NAME_BYTES];
    TimTensorSet set = {.tensors = tensors};
    set.count = read_manifest("sd_vae_ft_ema.json", tensors, names);
    assert_ok(tim_stored_index(&set.by_name, tensors, set.count, &err));
    assert_string_equal(tim_published_name(&set), "stabilityai/sd-vae-ft-ema");
    bool old = false;
    for (size_t i = 0; i < set.count; i++) old |= strstr(names[i], ".proj_attn.") != NULL;
    assert_true(old);
    tim_free(set.by_name);
}

static void copy_text_encoder(const char *name) {
    char path[NAME_BYTES];
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.model"};
    mkdir(in_folder(name), 0777);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char from[NAME_BYTES];
        snprintf(from, sizeof from, "%s/%s", in_folder("text/text_encoder"), files[i]);
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        copy_file(from, path);
    }
}

static void test_open_text_encoder_of_too_few_positions_refused(void **state) {
    (void)state;
    char text[1024];
    copy_text_encoder("short");
    snprintf(text, sizeof text, "{\"max_position_embeddings\": 8, %s", gemma_config + 1);
    write_file(in_folder("short/config.json"), text, strlen(text));
    assert_no_pipeline(&(TimPipelineParts){.model = in_folder("text"), .text_encoder = in_folder("short")}, TIM_E_FORMAT,
                       (const char *const[]){"short: its max_position_embeddings are 8", "tokens (max_seq_length)", NULL});
}

/* The first number of the tensor becomes a NaN; 0xFF bytes are one in fp32 and in bf16. */
static void damage(const char *path, const char *tensor) {
    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file, path, &err));
    const TimStoredTensor *t = tim_safetensors_find(&file, tensor);
    assert_non_null(t);
    const long at = (long)((const char *)t->data - (const char *)file.file.data);
    const size_t bytes = tim_dtype_size(t->dtype);
    tim_safetensors_close(&file);
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, at, SEEK_SET), 0);
    assert_int_equal(fwrite("\xFF\xFF\xFF\xFF", 1, bytes, stream), bytes);
    assert_int_equal(fclose(stream), 0);
}

static const char *const one_prompt[] = {"a red cube"};

static void assert_draw_fails(const TimPipelineParts *parts, const char *says) {
    const TimSampleOptions options = options_for(one_prompt, 1, 1);
    TimPictures pictures;
    TimPipeline *pipeline = open_parts(parts);
    assert_int_equal(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err), TIM_E_FORMAT);
    assert_says(says);
    tim_pipeline_close(pipeline);
}

/* Not a black picture. */
static void test_draw_of_weights_that_are_not_finite_names_the_part(void **state) {
    (void)state;
    copy_text_encoder("deaf");
    damage(in_folder("deaf/model.safetensors"), "model.layers.0.input_layernorm.weight");
    assert_draw_fails(&(TimPipelineParts){.model = in_folder("text"), .text_encoder = in_folder("deaf")},
                      "the text encoder makes NaN of a prompt");
    put_vae("dim", "dc_ae_tiny");
    damage(in_folder("dim/diffusion_pytorch_model.safetensors"), "decoder.conv_out.bias");
    assert_draw_fails(&(TimPipelineParts){.model = in_folder("text"), .autoencoder = in_folder("dim")},
                      "the autoencoder makes NaN of finite latents");
    put_vae("blind", "dc_ae_tiny");
    damage(in_folder("blind/diffusion_pytorch_model.safetensors"), "encoder.conv_out.bias");
    static uint8_t pixels[3 * SIZE * SIZE];
    const TimImage start = {pixels, SIZE, SIZE, 3};
    TimSampleOptions options = options_for(one_prompt, 1, 1);
    TimPictures pictures;
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){.model = in_folder("text"), .autoencoder = in_folder("blind")});
    options.init = &start, options.strength = 0.5;
    assert_int_equal(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err), TIM_E_FORMAT);
    assert_says("the autoencoder makes NaN of the picture to start from");
    tim_pipeline_close(pipeline);
}

/* Cut short, and of another shape. */
static void test_open_damaged_parts_named_as_published(void **state) {
    (void)state;
    TimPartReport reports[TIM_PIPELINE_PARTS];
    TimFile file;
    int count;
    mkdir(in_folder("cut"), 0777);
    copy_file("tests/golden/vae/dc_ae_tiny/config.json", "cut/config.json");
    assert_ok(tim_file_open(&file, in_folder("text/vae/diffusion_pytorch_model.safetensors"), &err));
    write_file(in_folder("cut/weights.safetensors"), file.data, file.size / 2);
    tim_file_close(&file);
    const TimPipelineParts parts = {.model = in_folder("text"), .autoencoder = in_folder("cut")};
    assert_no_pipeline(&parts, TIM_E_FORMAT,
                       (const char *const[]){"cut/weights.safetensors: ", "(the configuration names maker/dc-ae-f32)", NULL});
    assert_ok(tim_pipeline_verify(&parts, reports, &count, &err));
    assert_int_equal(reports[3].status, TIM_E_FORMAT);
    assert_non_null(strstr(reports[3].err.text, "(the configuration names maker/dc-ae-f32)"));
    copy_file("tests/golden/text/gemma3_tiny/model.safetensors", "hub/gemma/model.safetensors");
    assert_no_pipeline(
        &(TimPipelineParts){.model = in_folder("hub")}, TIM_E_FORMAT,
        (const char *const[]){"gemma/model.safetensors: the tensor '", "(the configuration names maker/gemma)", NULL});
}

static void test_verify_says_of_each_part_whether_it_fits(void **state) {
    (void)state;
    TimPartReport reports[TIM_PIPELINE_PARTS];
    int count;
    assert_ok(tim_pipeline_verify(&(TimPipelineParts){.model = in_folder("text")}, reports, &count, &err));
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++) assert_int_equal(reports[i].status, TIM_OK);
    assert_non_null(strstr(reports[0].path, "text/model.safetensors"));
    assert_false(reports[0].hash_weights);
    assert_true(reports[1].hash_weights); /* the text encoder, made by tim_synth */
    assert_null(reports[1].published);
    assert_true(reports[3].tensors > 0 && reports[3].bytes > 0);
    assert_ok(tim_pipeline_verify(&(TimPipelineParts){.model = in_folder("text"), .autoencoder = in_folder("class/vae")}, reports,
                                  &count, &err));
    assert_int_equal(reports[3].status, TIM_E_FORMAT);
    put_decoder("decoder", "dc_ae_tiny");
    assert_ok(tim_pipeline_verify(&(TimPipelineParts){.model = in_folder("text"), .autoencoder = in_folder("decoder")}, reports,
                                  &count, &err));
    assert_int_equal(reports[3].status, TIM_OK);
    assert_int_equal(reports[3].init_status, TIM_E_FORMAT);
    assert_non_null(strstr(reports[3].err.text, "encoder."));
    assert_ok(tim_pipeline_verify(&(TimPipelineParts){.model = in_folder("bare")}, reports, &count, &err));
    assert_int_equal(count, 3); /* nothing to tell of the tokenizer */
    assert_int_equal(reports[1].status, TIM_E_IO);
    assert_int_equal(reports[2].status, TIM_E_IO);
    assert_int_equal(tim_pipeline_verify(&(TimPipelineParts){.model = in_folder("nowhere")}, reports, &count, &err), TIM_E_IO);
}

/* ---- options ---- */

static void assert_not_drawn(TimPipeline *pipeline, TimSampleOptions options, const char *says) {
    TimPictures pictures;
    assert_int_equal(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err), TIM_E_ARGUMENT);
    assert_null(pictures.pixels);
    assert_says(says);
}

static void test_draw_bad_options_named(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", NULL}, *const broken[] = {"\xFF"};
    const int64_t labels[] = {0};
    TimPipeline *pipeline = open_text();
    TimSampleOptions options = options_for(NULL, 1, 1);
    assert_not_drawn(pipeline, options, "give prompts");
    options.labels = labels;
    options.prompts = prompts;
    assert_not_drawn(pipeline, options, "has no classes");
    assert_not_drawn(pipeline, options_for(prompts, 2, 1), "picture 1 has no prompt");
    assert_not_drawn(pipeline, options_for(broken, 1, 1), "the prompt of picture 0");
    options = options_for(prompts, 1, 1), options.height = 70;
    assert_not_drawn(pipeline, options, "height is 70; give a multiple of 32 up to 16384, such as 64");
    options.height = 0, options.width = 20000;
    assert_not_drawn(pipeline, options, "width is 20000; give a multiple of 32 up to 16384, such as 16384");
    options.width = 1;
    assert_not_drawn(pipeline, options, "such as 32");
    tim_pipeline_close(pipeline);
    pipeline = open_parts(&(TimPipelineParts){.model = in_folder("class")});
    assert_not_drawn(pipeline, options_for(prompts, 1, 1), "not on text");
    tim_pipeline_close(pipeline);
}

static void test_plan_long_prompts_are_said(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube", "two dogs, one cat and a long sentence that goes on and on"};
    TimPipeline *pipeline = open_text();
    TimSampleInfo info;
    const TimSampleOptions options = options_for(prompts, 2, 1);
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    assert_int_equal(info.cut_prompts, 1);
    TimPictures pictures;
    assert_ok(tim_pipeline_draw(pipeline, &options, &pictures, NULL, &err));
    tim_pictures_done(&pictures);
    tim_pipeline_close(pipeline);
}

static void test_plan_captions_that_need_no_padding_are_counted(void **state) {
    (void)state;
    const char *const prompts[] = {"a", "two dogs and a tree"};
    int64_t ids[LONGEST];
    const int shorter = (int)tokens_of(prompts[0], ids), longer = (int)tokens_of(prompts[1], ids);
    TimPipeline *pipeline = open_text();
    TimSampleInfo info;
    TimSampleOptions options = options_for(prompts, 2, 1);
    const int cases[][2] = {{0, 0}, {shorter, 0}, {longer, 1}, {longer + 1, 2}};
    assert_true(shorter < longer && longer < LONGEST);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.caption_tokens = cases[i][0];
        assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
        assert_int_equal(info.padded_prompts, cases[i][1]);
    }
    options.caption_tokens = longer, options.negative_prompt = prompts[1]; /* which makes both captions as long already */
    options.guidance = 2, options.guidance_high = 2;
    assert_ok(tim_pipeline_plan(pipeline, &options, &info, &err));
    assert_int_equal(info.padded_prompts, 0);
    tim_pipeline_close(pipeline);
}

/* What the bound must also hold: guided steps beside others have tapes of their own, and a picture to start from is encoded
 * whole. */
static void test_plan_memory_counts_guidance_and_the_first_picture(void **state) {
    (void)state;
    const char *const prompts[] = {"a red cube"};
    TimPipeline *pipeline = open_text();
    TimSampleInfo plain, guided, started;
    TimSampleOptions options = options_for(prompts, 1, 4);
    static uint8_t pixels[64 * 64 * 3];
    const TimImage picture = {pixels, 64, 64, 3};
    options.memory = (size_t)1 << 40;
    assert_ok(tim_pipeline_plan(pipeline, &options, &plain, &err));
    options.guidance = 2;
    assert_ok(tim_pipeline_plan(pipeline, &options, &guided, &err));
    assert_int_equal(guided.guided_steps, 3); /* the first lies outside of the window */
    assert_true(guided.memory > plain.memory);
    options.guidance_high = 1.5;
    assert_ok(tim_pipeline_plan(pipeline, &options, &plain, &err));
    assert_int_equal(plain.guided_steps, 4);
    assert_true(guided.memory >= plain.memory);
    options.init = &picture, options.strength = 0.5, options.height = options.width = 64 * FACTOR;
    assert_ok(tim_pipeline_plan(pipeline, &options, &started, &err));
    options.init = NULL;
    assert_ok(tim_pipeline_plan(pipeline, &options, &plain, &err));
    assert_true(started.memory > plain.memory);
    options.init = &picture, options.memory = 0, options.height = options.width = TIM_IMAGE_MAX_SIDE / FACTOR * FACTOR;
    assert_int_equal(tim_pipeline_plan(pipeline, &options, &started, &err), TIM_E_MEMORY);
    assert_says("the picture to start from takes");
    tim_pipeline_close(pipeline);
}

/* A host may have set a locale that writes a comma. Without one on this machine, the form of number.h tells. */
static void test_facts_have_numbers_of_json(void **state) {
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
    const char *set = NULL;
    TimFacts facts;
    TimConfig config = text_config();
    config.transport.sigma_d = 0.25, config.transport.t_max = 1;
    for (size_t i = 0; i < 3 && !set; i++) set = setlocale(LC_NUMERIC, locales[i]);
    tim_facts_of_config(&facts, &config);
    setlocale(LC_NUMERIC, "C");
    int found = 0;
    for (int i = 0; i < facts.count; i++) {
        if (strcmp(facts.items[i].key, "sigma_d") == 0) found++, assert_string_equal(facts.items[i].value, "0.25");
        if (strcmp(facts.items[i].key, "T_max") == 0) found++, assert_string_equal(facts.items[i].value, "1.0");
    }
    assert_int_equal(found, 2);
    if (!set) skip(); /* no locale with a comma */
}

/* ---- made-up checkpoints ---- */

static void test_synth_has_hash_weights_and_says_so(void **state) {
    (void)state;
    TimParams params = {0};
    TimConfig config = text_config();
    TimSynthInfo info;
    TimTensorSet set;
    float expected[4], found[4];
    static const char json[] =
        "{\"input_size\": 2, \"patch_size\": 1, \"in_channels\": 8, \"depth\": 2, \"hidden_size\": 24, \"num_heads\": 3, "
        "\"encoder_depth\": 1, \"z_dim\": 8, \"projector_dim\": 8, \"lora_hidden_size\": 8, \"cap_feat_dim\": 32, "
        "\"use_new_embed\": true, \"distance_aware\": true, \"qk_norm\": true}";
    config.network.qk_norm = true;
    assert_ok(tim_network_params(&params, &config.network, &err));
    write_manifest(in_folder("t2i.json"), json, "\"model\": \"t2i\",", &params);
    assert_ok(tim_synth(in_folder("t2i.json"), in_folder("made"), TIM_PRECISION_BF16, &info, &err));
    assert_string_equal(info.kind, "TiM");
    assert_int_equal(info.tensors, params.count);
    assert_int_equal(info.parameters, tim_params_total(&params));
    assert_ok(tim_tensor_set_open(&set, in_folder("made"), &err));
    const TimStoredTensor *bias = tim_tensor_set_find(&set, "x_embedder.proj.bias");
    assert_int_equal(bias->dtype, TIM_BF16);
    assert_ok(tim_hash_weights("x_embedder.proj.bias", (const size_t[]){4}, 1, TIM_HASH_PLAIN, expected, &err));
    TimStoredTensor first = *bias;
    first.count = 4, first.bytes = 8;
    assert_ok(tim_safetensors_read_f32(&first, found, 4, &err));
    for (int i = 0; i < 4; i++) assert_true(found[i] == tim_bf16_to_f32(tim_bf16_from_f32(expected[i])));
    bool said = false;
    for (size_t i = 0; i < set.text_count; i++) said = said || strcmp(set.texts[i].key, "weights") == 0;
    assert_true(said);
    tim_tensor_set_close(&set);
    tim_params_done(&params);
    TimPipeline *pipeline = open_parts(&(TimPipelineParts){
        .model = in_folder("made"), .text_encoder = in_folder("text/text_encoder"), .autoencoder = in_folder("text/vae")});
    tim_pipeline_close(pipeline);
}

static void test_synth_bad_manifests_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{}", "no object 'tensors'"},
        {"{\"tensors\": {}}", "no object 'tensors'"},
        {"{\"tensors\": {\"a\": 3}}", "'a' is given no list"},
        {"{\"tensors\": {\"a\": [2, 0]}}", "axis 1 of the tensor 'a'"},
        {"{\"tensors\": {\"a\": [2, \"x\"]}}", "axis 1 of the tensor 'a'"},
        {"{\"tensors\": {\"a\": [4294967296, 4294967296]}}", "'a' does not fit"},
        {"[", "bad.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_file(in_folder("bad.json"), cases[i].text, strlen(cases[i].text));
        assert_int_not_equal(tim_synth(in_folder("bad.json"), in_folder("bad"), TIM_PRECISION_BF16, NULL, &err), TIM_OK);
        assert_says(cases[i].says);
        assert_says("bad.json");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draw_is_what_the_parts_make),
        cmocka_unit_test(test_draw_either_state_of_either_encoder_differs),
        cmocka_unit_test(test_draw_picture_does_not_depend_on_its_batch),
        cmocka_unit_test(test_draw_padded_captions_are_seen),
        cmocka_unit_test(test_draw_equal_lengths_share_evaluations),
        cmocka_unit_test(test_draw_other_prompt_other_picture_and_sides_are_free),
        cmocka_unit_test(test_draw_classes_through_latents_have_the_decoders_size),
        cmocka_unit_test(test_draw_memory_bound_makes_strips_and_the_same_picture),
        cmocka_unit_test(test_encode_tiled_is_what_the_tiles_make),
        cmocka_unit_test(test_draw_tiled_is_what_the_tiles_make),
        cmocka_unit_test(test_draw_stages_from_one_step_to_the_picture),
        cmocka_unit_test(test_draw_stages_stay_within_memory),
        cmocka_unit_test(test_open_finds_parts_by_published_names),
        cmocka_unit_test(test_open_latents_of_an_autoencoder_nobody_names),
        cmocka_unit_test(test_open_missing_and_unfit_parts_named),
        cmocka_unit_test(test_open_failures_name_the_published_file),
        cmocka_unit_test(test_open_text_encoder_of_too_few_positions_refused),
        cmocka_unit_test(test_draw_of_weights_that_are_not_finite_names_the_part),
        cmocka_unit_test(test_open_damaged_parts_named_as_published),
        cmocka_unit_test(test_published_name_found_whatever_attention_is_called),
        cmocka_unit_test(test_published_weights_bring_their_configuration),
        cmocka_unit_test(test_verify_says_of_each_part_whether_it_fits),
        cmocka_unit_test(test_draw_bad_options_named),
        cmocka_unit_test(test_plan_long_prompts_are_said),
        cmocka_unit_test(test_plan_captions_that_need_no_padding_are_counted),
        cmocka_unit_test(test_facts_have_numbers_of_json),
        cmocka_unit_test(test_plan_memory_counts_guidance_and_the_first_picture),
        cmocka_unit_test(test_synth_has_hash_weights_and_says_so),
        cmocka_unit_test(test_synth_bad_manifests_named),
    };
    return cmocka_run_group_tests(tests, make_parts, remove_all);
}
