/* What the processor is called. */
#ifndef TIM_BASE_PROCESSOR_H
#define TIM_BASE_PROCESSOR_H

enum { TIM_PROCESSOR_BYTES = 49 };

/* As it calls itself, without blanks around it; empty where it does not. */
void tim_processor_name(char name[TIM_PROCESSOR_BYTES]);

#endif
