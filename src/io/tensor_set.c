#include "io/tensor_set.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/json_text.h"
#include "io/tensor_folder.h"
#include "io/torch_file.h"

enum { MAX_PARTS = 4096, MAX_INDEX = 64 << 20 /* bytes */ };

/* One file of a set: safetensors, or a file of torch.save with the map it lies in. */
typedef struct TimTensorPart {
    const char *name; /* in the index; NULL for the only file of a set */
    TimSafetensors safetensors;
    TimFile file;
    TimTorchFile torch;
    bool is_torch;
} TimTensorPart;

/* ---- kinds ---- */

typedef enum Kind { SAFETENSORS, TORCH, OTHER_TORCH, INDEX, UNKNOWN } Kind;

/* As bytes of a length, the text of an index would tell of more than any file has: the two formats exclude each other. */
static bool begins_as_safetensors(const TimFile *file) {
    uint64_t header;
    if (file->size < sizeof header + 1) return false;
    memcpy(&header, file->data, sizeof header);
    return file->data[sizeof header] == '{' && header <= TIM_SAFETENSORS_MAX_HEADER;
}

static bool begins_as_json(const TimFile *file) {
    size_t at = 0;
    while (at < file->size && strchr(" \t\r\n", file->data[at]) && file->data[at]) at++;
    return at < file->size && file->data[at] == '{';
}

static Kind kind_of(const TimFile *file) {
    if (begins_as_safetensors(file)) return SAFETENSORS;
    if (tim_torch_file_begins(file)) return TORCH;
    if (tim_torch_other_begins(file)) return OTHER_TORCH;
    return begins_as_json(file) ? INDEX : UNKNOWN;
}

/* A file that is called .safetensors and does not begin as one gets the words of that format's reader. */
static TimStatus fail_unknown(const TimFile *file, const char *path, TimError *err) {
    static const char pointer[] = "version https://git-lfs";
    if (file->size >= sizeof pointer - 1 && memcmp(file->data, pointer, sizeof pointer - 1) == 0)
        return tim_fail(err, TIM_E_FORMAT, "%s: only Git's note of a large file; get the file itself: git lfs pull", path);
    if (file->size == 0) return tim_fail(err, TIM_E_FORMAT, "%s: the file is empty; is the download complete?", path);
    return tim_fail(
        err, TIM_E_FORMAT,
        "%s: it begins with byte 0x%02x, as no file of tensors does; give safetensors, a file of torch.save, or an index "
        "(.safetensors.index.json)",
        path, file->data[0]);
}

/* ---- parts ---- */

static void part_close(TimTensorPart *part) {
    tim_safetensors_close(&part->safetensors);
    tim_torch_file_done(&part->torch);
    tim_file_close(&part->file);
}

static TimStatus part_open_torch(TimTensorPart *part, const char *path, bool unwrap, TimError *err) {
    part->is_torch = true;
    TIM_TRY(tim_file_open(&part->file, path, err));
    const TimStatus status = tim_torch_file_read(&part->torch, &part->file, unwrap, err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

static TimStatus part_open(TimTensorPart *part, const char *path, Kind kind, const TimFile *file, bool unwrap, TimError *err) {
    switch (kind) {
    case SAFETENSORS:
        return tim_safetensors_open(&part->safetensors, path, err);
    case TORCH:
        return part_open_torch(part, path, unwrap, err);
    case OTHER_TORCH:
        return tim_fail_within(err, tim_torch_other_fail(err), "%s", path);
    case INDEX:
        return tim_fail(err, TIM_E_FORMAT, "%s: an index inside of an index; let the first one name files of tensors", path);
    default:
        return tim_ends_with(path, ".safetensors") && file->size > 0 && file->data[0] != 'v'
                   ? tim_safetensors_open(&part->safetensors, path, err)
                   : fail_unknown(file, path, err);
    }
}

/* The part's tensors and texts; the return value counts the tensors. */
static size_t part_tensors(const TimTensorPart *part, const TimStoredTensor **tensors) {
    *tensors = part->is_torch ? part->torch.tensors : part->safetensors.tensors;
    return part->is_torch ? part->torch.count : part->safetensors.count;
}

/* ---- the index ---- */

static TimStatus parse_index(json_t **document, const TimFile *file, TimError *err) {
    json_error_t cause;
    if (file->size > MAX_INDEX)
        return tim_fail(err, TIM_E_FORMAT, "an index of %zu bytes; at most %d are read: give the index as it was published",
                        file->size, MAX_INDEX);
    if (!tim_json_is_small((const char *)file->data, file->size, TIM_JSON_MAX_VALUES))
        return tim_fail(err, TIM_E_FORMAT, "an index of more than %d values: give the index as it was published",
                        TIM_JSON_MAX_VALUES);
    *document = json_loadb((const char *)file->data, file->size, JSON_REJECT_DUPLICATES, &cause);
    if (*document) return TIM_OK;
    return tim_fail(err, json_error_code(&cause) == json_error_out_of_memory ? TIM_E_MEMORY : TIM_E_FORMAT,
                    "not a valid index at byte %d: %s; is the download complete?", cause.position, cause.text);
}

/* A name that stays in the folder of the index. */
static bool is_plain_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int compare_text(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The distinct values of the map, sorted: *files from tim_alloc, its texts the map's. */
static TimStatus list_files(const char ***files, size_t *count, json_t *map, TimError *err) {
    const char *tensor;
    json_t *value;
    size_t all = 0;
    *count = 0;
    TIM_TRY(tim_new(files, json_object_size(map), sizeof **files, "the files of an index", err));
    json_object_foreach(map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !is_plain_name(name))
            return tim_fail(err, TIM_E_FORMAT,
                            "weight_map sends the tensor '%.80s' to '%.80s', which is no name of a file beside the index", tensor,
                            name ? name : "what is no text");
        (*files)[all++] = name;
    }
    if (all > 0) qsort(*files, all, sizeof **files, compare_text);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || strcmp((*files)[i], (*files)[i - 1]) != 0) (*files)[(*count)++] = (*files)[i];
    if (*count <= MAX_PARTS) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "weight_map names %zu files; at most %d are read", *count, MAX_PARTS);
}

static TimStatus open_listed(TimTensorPart *part, const char *path, TimError *err) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = part_open(part, path, kind_of(&file), &file, false, err);
    tim_file_close(&file);
    return status;
}

static TimStatus open_parts(TimTensorSet *set, const char *const *files, size_t count, TimError *err) {
    TIM_TRY(tim_new(&set->parts, count, sizeof *set->parts, "the files of an index", err));
    for (size_t i = 0; i < count; i++) {
        char *path;
        TIM_TRY(tim_path_beside(&path, set->path, files[i], err));
        TimTensorPart *part = &set->parts[set->part_count++];
        part->name = files[i];
        const TimStatus status = open_listed(part, path, err);
        tim_free(path);
        TIM_TRY(status);
    }
    return TIM_OK;
}

/* A number or text of the index as a text; NULL for the others, and when memory is out. */
static const char *text_of(TimTensorSet *set, json_t *value) {
    if (json_is_string(value)) return json_string_value(value);
    if (!json_is_number(value) && !json_is_boolean(value)) return NULL;
    char *dump = json_dumps(value, JSON_ENCODE_ANY);
    json_t *text = dump ? json_string(dump) : NULL;
    free(dump);
    return text && json_array_append_new(set->index, text) == 0 ? json_string_value(text) : NULL;
}

static TimStatus read_index_texts(TimTensorSet *set, json_t *metadata, TimError *err) {
    const char *key;
    json_t *value;
    TIM_TRY(tim_new(&set->texts, json_object_size(metadata), sizeof *set->texts, "the metadata", err));
    json_object_foreach(metadata, key, value) {
        const char *text = text_of(set, value);
        if (text) set->texts[set->text_count++] = (TimStoredText){key, text};
    }
    return TIM_OK;
}

static TimStatus open_index(TimTensorSet *set, const TimFile *file, TimError *err) {
    json_t *document;
    const char **files = NULL;
    size_t count;
    set->index = json_array();
    if (!set->index) return tim_fail(err, TIM_E_MEMORY, "no memory for an index; free some");
    TIM_TRY(parse_index(&document, file, err));
    if (json_array_append_new(set->index, document) != 0) return tim_fail(err, TIM_E_MEMORY, "no memory for an index; free some");
    json_t *map = json_object_get(document, "weight_map");
    if (!json_is_object(map))
        return tim_fail(err, TIM_E_FORMAT,
                        "it is JSON, and has no 'weight_map' as an index has; give a file of tensors or its index");
    TIM_TRY(read_index_texts(set, json_object_get(document, "metadata"), err));
    TimStatus status = list_files(&files, &count, map, err);
    if (status == TIM_OK) status = open_parts(set, files, count, err);
    tim_free(files);
    return status;
}

/* ---- the set ---- */

static TimStatus gather(TimTensorSet *set, TimError *err) {
    size_t count = 0;
    const TimStoredTensor *tensors;
    for (size_t i = 0; i < set->part_count; i++) count += part_tensors(&set->parts[i], &tensors);
    TIM_TRY(tim_new(&set->tensors, count, sizeof *set->tensors, "the tensors' entries", err));
    for (size_t i = 0; i < set->part_count; i++) {
        const size_t more = part_tensors(&set->parts[i], &tensors);
        if (more > 0) memcpy(set->tensors + set->count, tensors, more * sizeof *tensors);
        set->count += more;
    }
    return tim_stored_index(&set->by_name, set->tensors, set->count, err);
}

static TimStatus check_names(const TimTensorSet *set, TimError *err) {
    for (size_t i = 1; i < set->count; i++)
        if (strcmp(set->by_name[i]->name, set->by_name[i - 1]->name) == 0)
            return tim_fail(err, TIM_E_FORMAT, "the tensor '%.80s' is there twice; save it under one name and in one file",
                            set->by_name[i]->name);
    return TIM_OK;
}

static TimStatus check_part(const TimTensorPart *part, json_t *map, TimError *err) {
    const TimStoredTensor *tensors;
    const size_t count = part_tensors(part, &tensors);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_object_get(map, tensors[i].name));
        if (!name)
            return tim_fail(err, TIM_E_FORMAT,
                            "the tensor '%.80s' of %.80s is not in weight_map; do the index and its files belong together?",
                            tensors[i].name, part->name);
        if (strcmp(name, part->name) != 0)
            return tim_fail(
                err, TIM_E_FORMAT,
                "the tensor '%.80s' lies in %.80s, and weight_map says %.80s; do the index and its files belong together?",
                tensors[i].name, part->name, name);
    }
    return TIM_OK;
}

/* Whether `file` says that it keeps the tensor as another: converters to safetensors drop what shares memory, leave the index as it
 * was, and note the two names in the metadata. */
static bool is_kept_as_another(const TimTensorSet *set, const char *file, const char *name) {
    for (size_t i = 0; i < set->part_count; i++) {
        const TimTensorPart *part = &set->parts[i];
        const char *other = part->is_torch || strcmp(part->name, file) != 0 ? NULL : tim_safetensors_text(&part->safetensors, name);
        if (other && tim_tensor_set_find(set, other)) return true;
    }
    return false;
}

/* Index and files must tell of the same tensors. */
static TimStatus check_index(const TimTensorSet *set, TimError *err) {
    json_t *map = json_object_get(json_array_get(set->index, 0), "weight_map"), *value;
    const char *name;
    for (size_t i = 0; i < set->part_count; i++) TIM_TRY(check_part(&set->parts[i], map, err));
    json_object_foreach(map, name, value) {
        if (tim_tensor_set_find(set, name) || is_kept_as_another(set, json_string_value(value), name)) continue;
        return tim_fail(err, TIM_E_FORMAT,
                        "the tensor '%.80s' is not in %.80s, where weight_map sends it; is the download complete?", name,
                        json_string_value(value));
    }
    return TIM_OK;
}

static TimStatus take_texts(TimTensorSet *set, TimError *err) {
    const TimTensorPart *part = set->parts;
    const TimStoredText *texts = part->is_torch ? part->torch.texts : part->safetensors.texts;
    set->text_count = part->is_torch ? part->torch.text_count : part->safetensors.text_count;
    TIM_TRY(tim_new(&set->texts, set->text_count, sizeof *set->texts, "the metadata", err));
    if (set->text_count > 0) memcpy(set->texts, texts, set->text_count * sizeof *texts);
    return TIM_OK;
}

/* What lies in the files already names them in its errors; what follows names the set. */
static TimStatus finish(TimTensorSet *set, TimError *err) {
    if (!set->index) TIM_TRY(take_texts(set, err));
    TIM_TRY(gather(set, err));
    TIM_TRY(check_names(set, err));
    return set->index ? check_index(set, err) : TIM_OK;
}

static TimStatus open_file(TimTensorSet *set, TimError *err) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, set->path, err));
    const Kind kind = kind_of(&file);
    TimStatus status;
    if (kind == INDEX) {
        status = open_index(set, &file, err);
        if (status != TIM_OK) tim_fail_within(err, status, "%s", set->path);
    } else {
        status = tim_new(&set->parts, 1, sizeof *set->parts, "a file of tensors", err);
        if (status == TIM_OK) set->part_count = 1, status = part_open(set->parts, set->path, kind, &file, set->unwraps, err);
    }
    tim_file_close(&file);
    return status;
}

static TimStatus open_set(TimTensorSet *set, const char *path, bool unwrap, TimError *err) {
    *set = (TimTensorSet){.unwraps = unwrap};
    TimStatus status = tim_tensor_folder_find(&set->path, path, err);
    if (status == TIM_OK) status = open_file(set, err);
    if (status == TIM_OK) {
        status = finish(set, err);
        if (status != TIM_OK) tim_tensor_set_fail(set, status, err);
    }
    if (status != TIM_OK) tim_tensor_set_close(set);
    return status;
}

TimStatus tim_tensor_set_open(TimTensorSet *set, const char *path, TimError *err) {
    return open_set(set, path, false, err);
}

TimStatus tim_tensor_set_open_weights(TimTensorSet *set, const char *path, TimError *err) {
    return open_set(set, path, true, err);
}

const char *tim_tensor_set_wrapper(const TimTensorSet *set) {
    return set->part_count == 1 && set->parts->is_torch ? set->parts->torch.wrapper : "";
}

TimStatus tim_tensor_set_fail(const TimTensorSet *set, TimStatus status, TimError *err) {
    const char *wrapper = tim_tensor_set_wrapper(set);
    return *wrapper ? tim_fail_within(err, status, "%s, its '%s'", set->path, wrapper)
                    : tim_fail_within(err, status, "%s", set->path);
}

void tim_tensor_set_close(TimTensorSet *set) {
    for (size_t i = 0; i < set->part_count; i++) part_close(&set->parts[i]);
    tim_free(set->parts);
    json_decref(set->index);
    tim_free(set->by_name);
    tim_free(set->tensors);
    tim_free(set->texts);
    tim_free(set->path);
    *set = (TimTensorSet){0};
}

void tim_tensor_set_rest(const TimTensorSet *set) {
    for (size_t i = 0; i < set->part_count; i++) {
        tim_file_rest(&set->parts[i].safetensors.file);
        tim_file_rest(&set->parts[i].file);
    }
}

const TimStoredTensor *tim_tensor_set_find(const TimTensorSet *set, const char *name) {
    return tim_stored_find(set->by_name, set->count, name);
}
