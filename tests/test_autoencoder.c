/* Autoencoders: what a configuration may say, strict loading of diffusers folders, and how pictures and tiles are cut. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "io/safetensors.h"
#include "model/autoencoder.h"
#include "near.h"
#include "nn/hash_weights.h"

static const TimAutoencoderOptions both = {.isa = TIM_ISA_GENERIC, .threads = 1, .encoder = true, .decoder = true};

static const char kl_text[] = "{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [4, 8], \"norm_num_groups\": 2, "
                              "\"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], "
                              "\"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"sample_size\": 16";

static void must(TimStatus status, const TimError *err) {
    if (status != TIM_OK) fail_msg("%s", err->text);
}

/* ---- configuration ---- */

/* The small KL with more keys. */
static TimStatus parse(TimAutoencoderConfig *config, const char *more, TimError *err) {
    char text[1024];
    snprintf(text, sizeof text, "%s%s%s}", kl_text, *more ? ", " : "", more);
    return tim_autoencoder_config_parse(config, text, NULL, err);
}

static void expect_text(TimStatus status, const TimError *err, const char *text) {
    assert_int_not_equal(status, TIM_OK);
    if (!strstr(err->text, text)) fail_msg("'%s' is not in '%s'", text, err->text);
}

static void test_config_setting_not_run_error_names_key_and_value(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"\"act_fn\": \"gelu\"", "'act_fn' is \"gelu\"; this library runs networks where it is \"silu\" or \"swish\""},
        {"\"latents_mean\": [0.5]", "'latents_mean' is [0.5]"},
        {"\"latents_std\": [1, 2, 3, null]", "'latents_std' is [1,2,3,null]"},
        {"\"latents_mean\": [1, 2, 3, 4], \"latents_std\": [1, 2, 0, 4]", "'latents_std' is 0 for channel 2"},
        {"\"latents_mean\": [1, 2, 3, 4], \"latents_std\": [1, 2, 1e-320, 4]",
         "'scaling_factor' over 'latents_std' is inf for channel 2, and latents are divided by it"},
        {"\"scaling_factor\": 0", "'scaling_factor' is 0 for channel 0"},
        {"\"layers_per_block\": 0", "'layers_per_block' is 0"},
        {"\"layers_per_block\": 1.5", "'layers_per_block' is 1.5"},
        {"\"use_quant_conv\": 1", "'use_quant_conv' is 1"},
        {"\"scaling_factor\": \"big\"", "'scaling_factor' is \"big\""},
        {"\"temporal\": true", "'temporal' is true"},
    };
    TimAutoencoderConfig config;
    TimError err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) expect_text(parse(&config, wrong[i][0], &err), &err, wrong[i][1]);
    must(parse(&config, "\"shift_factor\": null, \"force_upcast\": false", &err), &err);
    assert_int_equal(tim_autoencoder_factor(&config), 2);
    must(tim_autoencoder_config_parse(&config, "{\"_class_name\": \"AutoencoderDC\", \"downsample_block_type\": \"conv\"}", NULL,
                                      &err),
         &err);
    assert_false(config.dc.unshuffle_down); /* as diffusers' converter writes it */
    must(tim_autoencoder_config_parse(&config, "{\"_class_name\": \"AutoencoderDC\"}", NULL, &err), &err);
    assert_true(config.dc.unshuffle_down);
    must(parse(&config, "\"shift_factor\": null, \"force_upcast\": false", &err), &err);
    assert_true(tim_autoencoder_scaling(&config, 3) == 0.18215 && tim_autoencoder_shift(&config, 3) == 0);
    must(parse(&config, "\"latents_mean\": [1, -1.5, 3, 4], \"latents_std\": [1, 8, 2, 4], \"scaling_factor\": 0.5", &err), &err);
    assert_true(tim_autoencoder_scaling(&config, 1) == 0.0625 && tim_autoencoder_shift(&config, 1) == -1.5);
}

static void test_config_shapes_that_do_not_fit_error_names_them(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"{", "not valid JSON"},
        {"[]", "not a JSON object"},
        {"{\"_class_name\": \"VQModel\"}", "'_class_name' is \"VQModel\""},
        {"{}", "'_class_name' is missing"},
        {"{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [6], \"norm_num_groups\": 4}", "'norm_num_groups' is 4"},
        {"{\"_class_name\": \"AutoencoderKL\", \"down_block_types\": [\"AttnDownEncoderBlock2D\"]}", "AttnDownEncoderBlock2D"},
        {"{\"_class_name\": \"AutoencoderDC\", \"decoder_norm_types\": \"layer_norm\"}", "'decoder_norm_types' is \"layer_norm\""},
        {"{\"_class_name\": \"AutoencoderDC\", \"encoder_qkv_multiscales\": [[], [], [], [4], [5], [5]]}",
         "'encoder_qkv_multiscales' is [[],[],[],[4],[5],[5]]"},
        {"{\"_class_name\": \"AutoencoderDC\", \"latent_channels\": 48}", "a multiple of 'latent_channels'"},
        {"{\"_class_name\": \"AutoencoderDC\", \"decoder_layers_per_block\": [1, 1]}", "'decoder_layers_per_block' 2"},
        {"{\"_class_name\": \"AutoencoderDC\", \"encoder_layers_per_block\": [2, 2, 0, 3, 3, 3]}",
         "'encoder_layers_per_block' is 0 for stage 2"},
    };
    TimAutoencoderConfig config;
    TimError err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_text(tim_autoencoder_config_parse(&config, wrong[i][0], NULL, &err), &err, wrong[i][1]);
}

/* ---- running ---- */

static TimStatus read_hash(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err) {
    (void)from;
    return tim_hash_weights(name, dims, rank, TIM_HASH_PLAIN, out, err);
}

static TimAutoencoder *small(const TimAutoencoderOptions *options) {
    TimAutoencoderConfig config;
    TimAutoencoder *a;
    TimError err;
    must(parse(&config, "", &err), &err);
    must(tim_autoencoder_new(&a, &config, options, &err), &err);
    must(tim_autoencoder_set_weights(a, read_hash, NULL, &err), &err);
    return a;
}

static void test_decode_batch_equals_each_by_itself(void **state) {
    (void)state;
    enum { H = 3, W = 5, LATENT = 4 * H * W, PICTURE = 3 * 4 * H * W };
    float z[2 * LATENT], together[2 * PICTURE], alone[PICTURE];
    TimError err;
    TimAutoencoder *a = small(&both);
    tim_rng_normal(z, 2 * LATENT, 1, 0, 0);
    must(tim_autoencoder_decode(a, 2, H, W, z, together, &err), &err);
    for (int i = 0; i < 2; i++) {
        must(tim_autoencoder_decode(a, 1, H, W, z + i * LATENT, alone, &err), &err);
        for (int k = 0; k < PICTURE; k++) assert_near(alone[k], together[i * PICTURE + k], 1e-5);
    }
    tim_autoencoder_close(a);
}

/* The configuration of a DC of four stages, the two fine ones local, with more keys. */
static void print_dc(char text[1024], const char *more) {
    snprintf(text, 1024,
             "{\"_class_name\": \"AutoencoderDC\", \"latent_channels\": 4, \"attention_head_dim\": 4, "
             "\"encoder_block_types\": [\"ResBlock\", \"ResBlock\", \"EfficientViTBlock\", \"EfficientViTBlock\"], "
             "\"decoder_block_types\": [\"ResBlock\", \"ResBlock\", \"EfficientViTBlock\", \"EfficientViTBlock\"], "
             "\"encoder_block_out_channels\": [8, 8, 16, 16], \"decoder_block_out_channels\": [8, 8, 16, 16], "
             "\"encoder_layers_per_block\": [1, 1, 1, 1], \"encoder_qkv_multiscales\": [[], [], [5], [5]], "
             "\"decoder_qkv_multiscales\": [[], [], [5], [5]], %s}",
             more);
}

static TimAutoencoder *small_dc(const char *more) {
    static const TimAutoencoderOptions options = {.isa = TIM_ISA_GENERIC, .threads = 1, .decoder = true};
    TimAutoencoderConfig config;
    TimAutoencoder *a;
    TimError err;
    char text[1024];
    print_dc(text, more);
    must(tim_autoencoder_config_parse(&config, text, NULL, &err), &err);
    must(tim_autoencoder_new(&a, &config, &options, &err), &err);
    must(tim_autoencoder_set_weights(a, read_hash, NULL, &err), &err);
    return a;
}

static void test_decode_strips_equal_the_whole(void **state) {
    (void)state;
    enum { H = 6, W = 2, BATCH = 2, LATENT = 4 * H * W, PICTURE = 3 * 64 * H * W };
    static const char *const kinds[] = {
        "\"decoder_layers_per_block\": [1, 2, 1, 1], \"upsample_block_type\": \"interpolate\"",
        "\"decoder_layers_per_block\": [2, 1, 1, 1], \"upsample_block_type\": \"pixel_shuffle\"",
        "\"decoder_layers_per_block\": [0, 2, 1, 1], \"upsample_block_type\": \"interpolate\"",
        "\"decoder_layers_per_block\": [0, 1, 1, 1], \"upsample_block_type\": \"pixel_shuffle\"",
    };
    static float z[BATCH * LATENT], whole[BATCH * PICTURE], strips[BATCH * PICTURE];
    TimError err;
    tim_rng_normal(z, BATCH * LATENT, 1, 0, 0);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        TimAutoencoder *a = small_dc(kinds[k]);
        must(tim_autoencoder_decode(a, BATCH, H, W, z, whole, &err), &err);
        for (int rows = 1; rows <= 8 * H; rows += rows < 8 ? 4 : 13) {
            memset(strips, 0, sizeof strips);
            must(tim_autoencoder_decode_strips(a, &(TimStrips){.rows = rows}, BATCH, H, W, z, strips, &err), &err);
            for (int i = 0; i < BATCH * PICTURE; i++) assert_near(strips[i], whole[i], 1e-6);
        }
        tim_autoencoder_close(a);
    }
}

/* A KL of `stages` stages and no more. */
static TimAutoencoder *small_kl(int stages, bool bf16) {
    static const char *const kinds[] = {
        "\"block_out_channels\": [6], \"down_block_types\": [\"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\"]",
        "\"block_out_channels\": [6, 12], \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], "
        "\"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"layers_per_block\": 2",
        "\"block_out_channels\": [6, 6, 12, 12], \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
        "\"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
        "\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"], \"layers_per_block\": 1"};
    const TimAutoencoderOptions options = {.isa = tim_isa_best(), .threads = 1, .bf16 = bf16, .decoder = true};
    TimAutoencoderConfig config;
    TimAutoencoder *a;
    TimError err;
    char text[1024];
    snprintf(text, sizeof text, "{\"_class_name\": \"AutoencoderKL\", \"norm_num_groups\": 3, %s}", kinds[stages / 2]);
    must(tim_autoencoder_config_parse(&config, text, NULL, &err), &err);
    must(tim_autoencoder_new(&a, &config, &options, &err), &err);
    must(tim_autoencoder_set_weights(a, read_hash, NULL, &err), &err);
    return a;
}

/* Norms over the whole picture included. */
static void test_decode_kl_strips_equal_the_whole(void **state) {
    (void)state;
    enum { H = 13, W = 3, BATCH = 2, LATENT = 4 * H * W, PICTURE = 3 * 64 * H * W };
    static float z[BATCH * LATENT], whole[BATCH * PICTURE], strips[BATCH * PICTURE];
    TimError err;
    tim_rng_normal(z, BATCH * LATENT, 1, 0, 0);
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (int stages = 2; stages <= 4; stages += 2) {
            TimAutoencoder *a = small_kl(stages, bf16);
            const int scale = tim_autoencoder_factor(tim_autoencoder_config(a));
            must(tim_autoencoder_decode(a, BATCH, H, W, z, whole, &err), &err);
            for (int stage = 1; stage < stages; stage++)
                for (int rows = 1; rows <= scale * H; rows += rows < 8 ? 4 : 13) {
                    const TimStrips cut = {.rows = rows, .stage = stage};
                    memset(strips, 0, sizeof strips);
                    must(tim_autoencoder_decode_strips(a, &cut, BATCH, H, W, z, strips, &err), &err);
                    for (int i = 0; i < BATCH * 3 * H * W * scale * scale; i++)
                        assert_near(strips[i], whole[i], bf16 ? 2e-2 : 4e-6);
                }
            expect_text(tim_autoencoder_decode_strips(a, &(TimStrips){.rows = 8}, 1, 2, 2, z, strips, &err), &err, "give 1 to");
            tim_autoencoder_close(a);
        }
    TimAutoencoder *one = small_kl(1, false);
    expect_text(tim_autoencoder_decode_strips(one, &(TimStrips){8, 1}, 1, 2, 2, z, strips, &err), &err,
                "no stages that can run in strips");
    tim_autoencoder_close(one);
}

/* Strips take less the more is cut; what fits is chosen with as little cut as does. */
static void test_find_kl_strips_for_a_bound(void **state) {
    (void)state;
    TimError err;
    TimStrips strips;
    size_t whole, bytes, last;
    int seen = 0;
    TimAutoencoder *a = small_kl(4, false);
    must(tim_autoencoder_find_strips(a, 64, 16, (size_t)1 << 40, &strips, &whole, &err), &err);
    assert_int_equal(strips.rows, 0);
    for (last = whole;; last = bytes) {
        must(tim_autoencoder_find_strips(a, 64, 16, last - 1, &strips, &bytes, &err), &err);
        if (bytes >= last) break;
        assert_true(strips.rows > 0 && strips.stage >= 1);
        seen |= 1 << strips.stage;
    }
    assert_true(last < whole / 3);
    const int narrow = strips.rows;
    must(tim_autoencoder_find_strips(a, 64, 16, last + last / 8, &strips, &bytes, &err), &err);
    assert_true(bytes <= last + last / 8 && strips.rows >= 2 * narrow); /* an eighth more memory, half the halos at most */
    assert_int_equal(seen & 8, 8);                                      /* the finest stage alone */
    assert_true(seen & 6);                                              /* and more of them */
    tim_autoencoder_close(a);
}

static void test_encode_tiled_small_picture_equals_whole(void **state) {
    (void)state;
    enum { PICTURE = 3 * 16 * 16, LATENT = 4 * 8 * 8 };
    float x[PICTURE], mean[2][LATENT], logvar[2][LATENT];
    TimError err;
    TimAutoencoder *a = small(&both);
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(a));
    assert_int_equal(tiling.tile_h, 16);
    assert_int_equal(tiling.stride_w, 12);
    tim_rng_normal(x, PICTURE, 1, 0, 0);
    must(tim_autoencoder_encode(a, 1, 16, 16, x, mean[0], logvar[0], &err), &err);
    must(tim_autoencoder_encode_tiled(a, &tiling, 1, 16, 16, x, mean[1], logvar[1], &err), &err);
    assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
    assert_memory_equal(logvar[0], logvar[1], sizeof logvar[0]);
    tim_autoencoder_close(a);
}

static void test_run_wrong_shapes_argument_error(void **state) {
    (void)state;
    float x[1] = {0};
    const TimTiling gaps = {16, 16, 20, 16}, odd = {15, 16, 12, 12};
    TimAutoencoderOptions decoder = both;
    TimError err;
    TimAutoencoder *a = small(&both);
    expect_text(tim_autoencoder_encode(a, 1, 15, 16, x, x, x, &err), &err, "multiples of 2");
    expect_text(tim_autoencoder_decode(a, 0, 1, 1, x, x, &err), &err, "0 pictures of 1 x 1");
    expect_text(tim_autoencoder_decode_tiled(a, &gaps, 1, 20, 20, x, x, &err), &err, "leave gaps");
    expect_text(tim_autoencoder_decode_tiled(a, &odd, 1, 20, 20, x, x, &err), &err, "multiples of 2");
    tim_autoencoder_close(a);
    decoder.encoder = false;
    a = small(&decoder);
    expect_text(tim_autoencoder_encode(a, 1, 16, 16, x, x, x, &err), &err, "without its encoder");
    tim_autoencoder_close(a);
}

/* ---- folders ---- */

/* Folders whose weights are those an autoencoder wants, but for one tensor that is left out, renamed, reshaped or too many. */
typedef enum Change { NOTHING, OLD_NAMES, MISSING, UNKNOWN, FEW, RESHAPED, STRAY, BIASED } Change;

typedef struct Collect {
    TimSafetensorsWriter writer;
    Change change;
    float *kept[256]; /* the writer borrows until it saves */
    int count;
} Collect;

/* A TimAutoencoderRead that writes what is read. */
static TimStatus collect(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err) {
    Collect *c = from;
    size_t count = 1, flat;
    for (int i = 0; i < rank; i++) count *= dims[i];
    TIM_TRY(read_hash(NULL, name, rank, dims, out, err));
    for (size_t i = 0; strstr(name, ".running_var") && i < count; i++) out[i] = fabsf(out[i]);
    assert_true(c->count < 256);
    float *kept = c->kept[c->count++] = malloc(count * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, out, count * sizeof *kept);
    flat = count;
    const bool chosen = strcmp(name, "decoder.conv_in.weight") == 0;
    if (c->change == FEW && !chosen) return TIM_OK;
    if (chosen && c->change == MISSING) return TIM_OK;
    if (chosen && c->change == RESHAPED) return tim_safetensors_writer_add(&c->writer, name, TIM_F32, 1, &flat, kept, err);
    if (chosen && c->change == UNKNOWN)
        TIM_TRY(tim_safetensors_writer_add(&c->writer, "decoder.extra.weight", TIM_F32, rank, dims, kept, err));
    if (chosen && c->change == STRAY)
        TIM_TRY(tim_safetensors_writer_add(&c->writer, "extra.weight", TIM_F32, rank, dims, kept, err));
    if (c->change == BIASED && strcmp(name, "decoder.up_blocks.1.1.conv2.weight") == 0)
        TIM_TRY(tim_safetensors_writer_add(&c->writer, "decoder.up_blocks.1.1.conv2.bias", TIM_F32, 1, dims, kept, err));
    if (c->change == OLD_NAMES && strcmp(name, "decoder.mid_block.attentions.0.to_out.0.bias") == 0)
        name = "decoder.mid_block.attentions.0.proj_attn.bias";
    return tim_safetensors_writer_add(&c->writer, name, TIM_F32, rank, dims, kept, err);
}

static void write_folder(const char *folder, const char *text, Change change) {
    char path[256];
    TimAutoencoderConfig config;
    TimAutoencoder *a;
    TimError err;
    Collect c = {.change = change};
    snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    must(tim_autoencoder_config_parse(&config, text, NULL, &err), &err);
    must(tim_autoencoder_new(&a, &config, &both, &err), &err);
    must(tim_safetensors_writer_init(&c.writer, &err), &err);
    must(tim_autoencoder_set_weights(a, collect, &c, &err), &err);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    must(tim_safetensors_writer_save(&c.writer, path, &err), &err);
    tim_safetensors_writer_done(&c.writer);
    for (int i = 0; i < c.count; i++) free(c.kept[i]);
    tim_autoencoder_close(a);
}

static void test_open_wrong_tensors_error_names_file_and_tensor(void **state) {
    (void)state;
    static const char *const texts[] = {
        [MISSING] = "'decoder.conv_in.weight' (8, 4, 3, 3) is missing",
        [UNKNOWN] = "'decoder.extra.weight' (8, 4, 3, 3) belongs to no layer",
        [FEW] = "288 numbers, where config.json asks for",
        [STRAY] = "'extra.weight' (8, 4, 3, 3) belongs to no layer",
        [RESHAPED] = "'decoder.conv_in.weight' has the shape (288), and config.json wants (8, 4, 3, 3)",
    };
    char folder[] = "/tmp/tim-autoencoder-XXXXXX", command[64], text[1024];
    TimAutoencoder *a;
    TimError err;
    assert_non_null(mkdtemp(folder));
    expect_text(tim_autoencoder_open(&a, folder, &both, &err), &err, "config.json");
    static const TimAutoencoderOptions decoder = {.isa = TIM_ISA_GENERIC, .threads = 1, .decoder = true};
    for (Change change = NOTHING; change <= STRAY; change++) {
        snprintf(text, sizeof text, "%s}", kl_text);
        write_folder(folder, text, change);
        const TimStatus status = tim_autoencoder_open(&a, folder, change == STRAY ? &decoder : &both, &err);
        if (change > OLD_NAMES) {
            assert_int_equal(status, TIM_E_FORMAT);
            assert_null(a);
            expect_text(status, &err, texts[change]);
            expect_text(status, &err, "diffusion_pytorch_model.safetensors");
        } else {
            must(status, &err);
            tim_autoencoder_close(a);
        }
    }
    print_dc(text, "\"decoder_layers_per_block\": [1, 1, 1, 1], \"decoder_norm_types\": [\"batch_norm\", \"batch_norm\", "
                   "\"rms_norm\", \"rms_norm\"]");
    write_folder(folder, text, NOTHING);
    must(tim_autoencoder_open(&a, folder, &both, &err), &err);
    tim_autoencoder_close(a);
    write_folder(folder, text, BIASED); /* which a batch norm leaves no room for */
    expect_text(tim_autoencoder_open(&a, folder, &both, &err), &err, "'decoder.up_blocks.1.1.conv2.bias' (8) belongs to no layer");
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_setting_not_run_error_names_key_and_value),
        cmocka_unit_test(test_config_shapes_that_do_not_fit_error_names_them),
        cmocka_unit_test(test_decode_batch_equals_each_by_itself),
        cmocka_unit_test(test_decode_strips_equal_the_whole),
        cmocka_unit_test(test_decode_kl_strips_equal_the_whole),
        cmocka_unit_test(test_find_kl_strips_for_a_bound),
        cmocka_unit_test(test_encode_tiled_small_picture_equals_whole),
        cmocka_unit_test(test_run_wrong_shapes_argument_error),
        cmocka_unit_test(test_open_wrong_tensors_error_names_file_and_tensor),
    };
    return cmocka_run_group_tests_name("autoencoder", tests, NULL, NULL);
}
