/* What was meant by a word that is not known. */
#ifndef TIM_CLI_NEAREST_H
#define TIM_CLI_NEAREST_H

#include <stddef.h>

/* Letters to insert, delete or change to make one word of the other (Levenshtein); SIZE_MAX for words of more than 32 letters. */
size_t word_edits(const char *a, const char *b);

/* So many wrong letters in `word` may still be a slip. */
size_t word_slips(const char *word);

/* The word of `words` (up to NULL) that `word` most resembles; NULL when none is near. */
const char *nearest_word(const char *word, const char *const *words);

#endif
