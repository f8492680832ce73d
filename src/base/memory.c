#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks of several such pages ask for them: fewer misses of the address cache where rows lie far apart. */
static const size_t huge_page = (size_t)2 << 20;

void *tim_alloc(size_t count, size_t size) {
    size_t bytes, padded;
    if (!tim_mul_size(count, size, &bytes) || bytes == 0) return NULL;
    if (!tim_add_size(bytes, TIM_ALIGNMENT - 1, &padded)) return NULL;
    padded -= padded % TIM_ALIGNMENT;
    const bool large = padded >= 4 * huge_page;
    void *block = NULL;
    if (posix_memalign(&block, large ? huge_page : TIM_ALIGNMENT, padded) != 0) return NULL;
#if defined(MADV_HUGEPAGE)
    if (large) madvise(block, padded - padded % huge_page, MADV_HUGEPAGE); /* a wish: failing is fine */
#endif
    memset(block, 0, padded);
    return block;
}

void tim_free(void *block) {
    free(block);
}

TimStatus tim_new(void *out, size_t count, size_t size, const char *what, TimError *err) {
    size_t bytes;
    void *block = NULL;
    if (tim_mul_size(count, size, &bytes)) block = tim_alloc(bytes ? bytes : 1, 1);
    memcpy(out, &block, sizeof block);
    if (block) return TIM_OK;
    return tim_fail(err, TIM_E_MEMORY, "no memory for %s: %zu elements of %zu bytes", what, count, size);
}

TimStatus tim_copy_text(char **out, const char *text, TimError *err) {
    const size_t bytes = strlen(text) + 1;
    TIM_TRY(tim_new(out, bytes, 1, "a text", err));
    memcpy(*out, text, bytes);
    return TIM_OK;
}

TimStatus tim_grow(void *items, size_t *capacity, size_t count, size_t size, const char *what, TimError *err) {
    if (count < *capacity) return TIM_OK;
    void *old, *block;
    memcpy(&old, items, sizeof old);
    const size_t wanted = *capacity ? *capacity * 2 : 16;
    TIM_TRY(tim_new(&block, wanted, size, what, err));
    if (old) memcpy(block, old, count * size);
    tim_free(old);
    memcpy(items, &block, sizeof block);
    *capacity = wanted;
    return TIM_OK;
}
