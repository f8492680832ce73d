/* Headers and library must be of one version: while it is 0.x, public structures grow with every minor one. `pkg-config
 * --modversion tim` tells that of the headers, tim_version() that of the library.
 *
 * Status codes and error text: every call of libtim that can fail returns a TimStatus and takes a TimError last. */
#ifndef TIM_STATUS_H
#define TIM_STATUS_H

#if defined(__GNUC__)
#define TIM_API __attribute__((visibility("default")))
#else
#define TIM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum TimStatus {
    TIM_OK = 0,
    TIM_E_ARGUMENT,    /* a value the caller gave is out of range or contradicts another */
    TIM_E_MEMORY,      /* an allocation failed, or a size does not fit into size_t */
    TIM_E_IO,          /* the operating system refused to open, read, map or write a file */
    TIM_E_FORMAT,      /* a file's content is not what its format allows */
    TIM_E_UNSUPPORTED, /* valid, but nothing here can do it */
    TIM_E_CANCELLED,   /* a callback asked to stop */
    TIM_E_INTERNAL     /* a defect of this library or of a library below it */
} TimStatus;

/* What went wrong, where, with which values, and the remedy. Meaningful only after a call that returned a failure: others may leave
 * it as it was. Owned by the caller, one per thread; NULL wherever only the status is wanted. */
typedef struct TimError {
    TimStatus status;
    char text[1024]; /* UTF-8, always terminated, cut with "..." when longer */
} TimError;

/* The name of a status, such as "argument". Static storage; any thread. */
TIM_API const char *tim_status_name(TimStatus status);

/* The version of the library that runs, such as "0.1.0". Static storage; any thread. */
TIM_API const char *tim_version(void);

#ifdef __cplusplus
}
#endif
#endif
