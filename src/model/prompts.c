#include "model/prompts.h"

TimStatus tim_prompts_check(const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens, int64_t fewest,
                            int64_t vocabulary, TimError *err) {
    for (int64_t b = 0; b < prompts; b++) {
        if (lengths[b] < fewest || lengths[b] > tokens)
            return tim_fail(err, TIM_E_ARGUMENT, "prompt %lld has %lld tokens, not %lld to %lld%s", (long long)b,
                            (long long)lengths[b], (long long)fewest, (long long)tokens,
                            fewest > 0 ? "; an empty one has its end token" : "");
        for (int64_t i = 0; i < lengths[b]; i++)
            if (ids[b * tokens + i] < 0 || ids[b * tokens + i] >= vocabulary)
                return tim_fail(err, TIM_E_ARGUMENT,
                                "token %lld of prompt %lld is %lld, not 0 to %lld; do tokenizer and weights belong together?",
                                (long long)i, (long long)b, (long long)ids[b * tokens + i], (long long)vocabulary - 1);
    }
    return TIM_OK;
}
