#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

static const uint8_t nothing[1]; /* what an empty file points to: mmap refuses a length of zero */

static TimStatus map(TimFile *file, int fd, const char *path, TimError *err) {
    struct stat info;
    if (fstat(fd, &info) != 0) return tim_fail(err, TIM_E_IO, "%s: cannot ask for its size: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return tim_fail(err, TIM_E_IO, "%s: not a regular file; give the path of a file", path);
    const size_t size = (size_t)info.st_size;
    if ((off_t)size != info.st_size || size > PTRDIFF_MAX)
        return tim_fail(err, TIM_E_IO, "%s: %jd bytes do not fit into the address space", path, (intmax_t)info.st_size);
    if (size == 0) return TIM_OK;
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return tim_fail(err, TIM_E_IO, "%s: cannot map %zu bytes: %s", path, size, strerror(errno));
    *file = (TimFile){data, size};
    return TIM_OK;
}

TimStatus tim_file_open(TimFile *file, const char *path, TimError *err) {
    *file = (TimFile){nothing, 0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not wait for its writer */
    if (fd < 0) return tim_fail(err, TIM_E_IO, "%s: cannot open: %s", path, strerror(errno));
    const TimStatus status = map(file, fd, path, err);
    close(fd); /* the map keeps the file */
    return status;
}

void tim_file_rest(const TimFile *file) {
    if (file->size > 0) (void)madvise((void *)(uintptr_t)file->data, file->size, MADV_DONTNEED);
}

void tim_file_close(TimFile *file) {
    if (file->size) munmap((void *)(uintptr_t)file->data, file->size);
    *file = (TimFile){nothing, 0};
}

bool tim_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static TimStatus make_one(const char *path, TimError *err) {
    struct stat info;
    if (mkdir(path, 0777) == 0) return TIM_OK;
    const int cause = errno;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return TIM_OK; /* also when a read-only parent hides that it exists */
    return tim_fail(err, TIM_E_IO, "%s: cannot make the folder: %s; name a place in a writable folder", path, strerror(cause));
}

TimStatus tim_folder_make(const char *path, TimError *err) {
    char *part;
    TimStatus status = tim_copy_text(&part, path, err);
    if (status != TIM_OK) return status;
    for (char *slash = strchr(part + (*part == '/'), '/'); slash && status == TIM_OK; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        status = make_one(part, err);
        *slash = '/';
    }
    tim_free(part);
    return status == TIM_OK ? make_one(path, err) : status;
}

TimStatus tim_join_path(char **out, const char *folder, const char *name, TimError *err) {
    size_t bytes;
    if (!tim_add_size(strlen(folder), strlen(name), &bytes) || !tim_add_size(bytes, 2, &bytes))
        return tim_fail(err, TIM_E_MEMORY, "a path of %zu bytes is too long", strlen(folder));
    TIM_TRY(tim_new(out, bytes, 1, "a path", err));
    const bool slash = *folder && folder[strlen(folder) - 1] == '/';
    snprintf(*out, bytes, "%s%s%s", folder, slash ? "" : "/", name);
    return TIM_OK;
}

TimStatus tim_path_beside(char **out, const char *path, const char *name, TimError *err) {
    const char *slash = strrchr(path, '/');
    if (!slash) return tim_copy_text(out, name, err);
    char *folder;
    TIM_TRY(tim_copy_text(&folder, path, err));
    folder[slash - path + 1] = '\0';
    const TimStatus status = tim_join_path(out, folder, name, err);
    tim_free(folder);
    return status;
}

TimStatus tim_path_at(char **out, const char *place, const char *name, TimError *err) {
    return tim_is_file(place) ? tim_path_beside(out, place, name, err) : tim_join_path(out, place, name, err);
}

/* Frees the texts; the stream is closed already. */
static void end(TimFileWriter *writer) {
    tim_free(writer->path);
    tim_free(writer->temporary);
    *writer = (TimFileWriter){NULL, NULL, NULL};
}

static TimStatus name_files(TimFileWriter *writer, const char *path, TimError *err) {
    static const char suffix[] = ".tmp";
    size_t bytes;
    if (!tim_add_size(strlen(path), sizeof suffix, &bytes))
        return tim_fail(err, TIM_E_MEMORY, "a path of %zu bytes is too long", strlen(path));
    TIM_TRY(tim_copy_text(&writer->path, path, err));
    TIM_TRY(tim_new(&writer->temporary, bytes, 1, "a path", err));
    snprintf(writer->temporary, bytes, "%s%s", path, suffix);
    return TIM_OK;
}

enum { NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC };

/* Whether a writer holds the file; a link, or what cannot be opened, nobody does. */
static bool is_being_written(const char *path) {
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

/* What has the name is what a writer left that was cut off, or a link, and goes itself, not what it leads to. */
static int replace_left(const char *path) {
    if (is_being_written(path)) {
        errno = EBUSY;
        return -1;
    }
    return unlink(path) == 0 ? open(path, NEW_FILE, 0666) : -1;
}

/* A new file, held by this writer until its end. */
static int create(const char *path) {
    int fd = open(path, NEW_FILE, 0666);
    if (fd < 0 && errno == EEXIST) fd = replace_left(path);
    if (fd >= 0) (void)flock(fd, LOCK_EX | LOCK_NB);
    return fd;
}

static TimStatus open_stream(TimFileWriter *writer, TimError *err) {
    const int fd = create(writer->temporary);
    if (fd < 0 && errno == EBUSY)
        return tim_fail(err, TIM_E_IO, "%s: another run is writing it; wait for its end, or give another path", writer->temporary);
    if (fd < 0)
        return tim_fail(err, TIM_E_IO, "%s: cannot create: %s; does the folder exist and is it writable?", writer->temporary,
                        strerror(errno));
    writer->stream = fdopen(fd, "wb");
    if (writer->stream) return TIM_OK;
    const int cause = errno;
    close(fd);
    unlink(writer->temporary);
    return tim_fail(err, TIM_E_MEMORY, "%s: cannot make a stream: %s", writer->temporary, strerror(cause));
}

/* A new file takes the name of the old one; a device or pipe of that name would be gone. */
static TimStatus check_target(const char *path, TimError *err) {
    struct stat info;
    if (stat(path, &info) != 0 || S_ISREG(info.st_mode)) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: is %s, not a file, and would be replaced; give another path", path,
                    S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe");
}

TimStatus tim_file_writer_open(TimFileWriter *writer, const char *path, TimError *err) {
    *writer = (TimFileWriter){NULL, NULL, NULL};
    TIM_TRY(check_target(path, err));
    TimStatus status = name_files(writer, path, err);
    if (status == TIM_OK) status = open_stream(writer, err);
    if (status != TIM_OK) end(writer);
    return status;
}

TimStatus tim_file_writer_write(TimFileWriter *writer, const void *data, size_t size, TimError *err) {
    if (size == 0 || fwrite(data, 1, size, writer->stream) == size) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot write %zu bytes: %s", writer->temporary, size, strerror(errno));
}

static bool reaches_disk(FILE *stream) {
    return fflush(stream) == 0 && fsync(fileno(stream)) == 0;
}

TimStatus tim_file_writer_sync(TimFileWriter *writer, TimError *err) {
    if (reaches_disk(writer->stream)) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot write it to the disk: %s", writer->temporary, strerror(errno));
}

/* Puts the renaming itself on the disk. Some file systems cannot, and the file is whole either way: failures do not count. */
static void sync_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash) snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

TimStatus tim_file_writer_commit(TimFileWriter *writer, TimError *err) {
    bool fine = reaches_disk(writer->stream);
    int cause = errno;
    const int held = fcntl(fileno(writer->stream), F_DUPFD_CLOEXEC, 0); /* until it has its name */
    if (fclose(writer->stream) != 0 && fine) fine = false, cause = errno;
    writer->stream = NULL;
    if (fine && rename(writer->temporary, writer->path) != 0) fine = false, cause = errno;
    if (held >= 0) close(held);
    TimStatus status = TIM_OK;
    if (fine) {
        sync_folder(writer->path);
    } else {
        unlink(writer->temporary);
        status = tim_fail(err, TIM_E_IO, "%s: cannot finish writing: %s", writer->path, strerror(cause));
    }
    end(writer);
    return status;
}

void tim_file_writer_abandon(TimFileWriter *writer) {
    if (!writer->stream) return;
    fclose(writer->stream);
    unlink(writer->temporary);
    end(writer);
}

TimStatus tim_file_write(const char *path, const void *data, size_t size, TimError *err) {
    TimFileWriter writer;
    TIM_TRY(tim_file_writer_open(&writer, path, err));
    TimStatus status = tim_file_writer_write(&writer, data, size, err);
    if (status == TIM_OK) status = tim_file_writer_commit(&writer, err);
    tim_file_writer_abandon(&writer);
    return status;
}

/* ---- one process at a time ---- */

TimStatus tim_folder_lock(int *lock, const char *folder, TimError *err) {
    *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0) return tim_fail(err, TIM_E_IO, "%s: cannot open the folder: %s", folder, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return TIM_OK;
    tim_folder_unlock(*lock);
    return tim_fail(err, TIM_E_IO, "%s: another run writes to this folder; wait for its end, or give another folder", folder);
}

void tim_folder_unlock(int lock) {
    close(lock);
}
