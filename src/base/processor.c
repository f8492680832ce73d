#include "base/processor.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Three leaves of 16 letters each, from 0x80000002 on (Intel SDM, volume 2, CPUID). */
static void read_name(char name[TIM_PROCESSOR_BYTES]) {
    enum { FIRST = 0x2, LEAVES = 3 };
    for (unsigned leaf = 0; leaf < LEAVES; leaf++) {
        unsigned words[4];
        if (!__get_cpuid(0x80000000U + FIRST + leaf, &words[0], &words[1], &words[2], &words[3])) return;
        memcpy(name + leaf * sizeof words, words, sizeof words);
    }
}
#else
static void read_name(char name[TIM_PROCESSOR_BYTES]) {
    (void)name;
}
#endif

void tim_processor_name(char name[TIM_PROCESSOR_BYTES]) {
    memset(name, 0, TIM_PROCESSOR_BYTES);
    read_name(name);
    const size_t blanks = strspn(name, " ");
    size_t length = strlen(name + blanks);
    while (length && name[blanks + length - 1] == ' ') length--;
    memmove(name, name + blanks, length);
    name[length] = '\0';
}
