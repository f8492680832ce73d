/* Whole files: read through a private read-only map, written beside their place and renamed into it.
 * Invariant: a path names either the complete old content or the complete new one, also after a crash. */
#ifndef TIM_IO_FILE_H
#define TIM_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* The bytes of a file. They fault (SIGBUS) if another process cuts the file short meanwhile; renaming over it is safe. */
typedef struct TimFile {
    const uint8_t *data; /* never NULL while open; an empty file has size 0 */
    size_t size;
} TimFile;

/* Maps the regular file `path`. TIM_E_IO names path and cause; then `file` is empty and closing it is fine. */
TimStatus tim_file_open(TimFile *file, const char *path, TimError *err);

/* Lets the pages that were read go; touching them brings them back. */
void tim_file_rest(const TimFile *file);

/* Unmaps; every pointer into `data` dies. */
void tim_file_close(TimFile *file);

/* True when `path` is a regular file. */
bool tim_is_file(const char *path);

/* Makes the folder `path` and those above it that are missing. TIM_E_IO names the first that cannot be made. */
TimStatus tim_folder_make(const char *path, TimError *err);

/* `folder`/`name` in a text from tim_alloc. */
TimStatus tim_join_path(char **out, const char *folder, const char *name, TimError *err);

/* The path of `name` in the folder that the file `path` lies in, in a text from tim_alloc. */
TimStatus tim_path_beside(char **out, const char *path, const char *name, TimError *err);

/* The path of `name` in the folder `place`, or beside the file `place`, in a text from tim_alloc. */
TimStatus tim_path_at(char **out, const char *place, const char *name, TimError *err);

/* Takes the folder for this process until *lock is given to tim_folder_unlock or the process ends. TIM_E_IO where another has it;
 * a file system that knows no locks is no obstacle. */
TimStatus tim_folder_lock(int *lock, const char *folder, TimError *err);
void tim_folder_unlock(int lock);

/* A file being written as "<path>.tmp"; one writer per path. Ends with commit or abandon, whichever comes first. */
typedef struct TimFileWriter {
    FILE *stream; /* NULL once ended */
    char *path, *temporary;
} TimFileWriter;

/* Starts writing, in place of what has the temporary name. After a failure nothing is left behind and the writer is ended. */
TimStatus tim_file_writer_open(TimFileWriter *writer, const char *path, TimError *err);

/* Appends `size` bytes. After a failure the caller abandons. */
TimStatus tim_file_writer_write(TimFileWriter *writer, const void *data, size_t size, TimError *err);

/* Puts on the disk what was written so far, so that a commit does little more than rename. After a failure the caller abandons. */
TimStatus tim_file_writer_sync(TimFileWriter *writer, TimError *err);

/* Flushes to the disk and renames to the final path. Ends the writer in any case; a failure leaves the old file as it was. */
TimStatus tim_file_writer_commit(TimFileWriter *writer, TimError *err);

/* Writes a whole file in one call, as the calls around this one do. */
TimStatus tim_file_write(const char *path, const void *data, size_t size, TimError *err);

/* Ends the writer and removes what it wrote; nothing happens when it has ended already. */
void tim_file_writer_abandon(TimFileWriter *writer);

#endif
