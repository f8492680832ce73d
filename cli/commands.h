/* The commands of the program tim. Each takes the words after its name and returns an exit code of options.h. */
#ifndef TIM_CLI_COMMANDS_H
#define TIM_CLI_COMMANDS_H

int cmd_bench(int count, char **words);
int cmd_classifier(int count, char **words);
int cmd_convert(int count, char **words);
int cmd_demo(int count, char **words);
int cmd_eval(int count, char **words);
int cmd_inspect(int count, char **words);
int cmd_sample(int count, char **words);
int cmd_synth(int count, char **words);
int cmd_train(int count, char **words);
int cmd_verify(int count, char **words);

#endif
