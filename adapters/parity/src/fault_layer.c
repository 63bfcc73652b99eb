/* A disk that fails as a test wants it, below a real broker: the library is loaded before the system's (LD_PRELOAD), stands
 * in front of the calls that the journal makes, and lets calls on files below one directory fail or wait.
 *
 * The test says what happens in a file of `struct control`, which it writes at any time. fault_layer.rs has the other half
 * of the layout. FAULT_CONTROL names that file, FAULT_GATE the one whose lock lets waiting calls go on, FAULT_DIRECTORY the
 * directory. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULTS 15

enum operation { CREATE, WRITE, READ, TRUNCATE, SYNC, SYNC_DIRECTORY, REMOVE };

struct fault {
    /* The beginning of the names of the files; all if it is empty. */
    char name[32];
    int64_t operation;
    /* What `errno` is then; 0 if the call waits, and is made afterwards. */
    int64_t error;
    /* How many calls it still happens to; all if it is negative. Written last by the test. */
    int64_t left;
    /* How many it has happened to. */
    int64_t hits;
};

struct control {
    /* How many processes have loaded this library. */
    int64_t loaded;
    int64_t unused[7];
    struct fault faults[FAULTS];
};

static struct control *control;
static const char *directory;

/* The function that stands behind this one. */
#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("FAULT_CONTROL");
    if (!path || !getenv("FAULT_GATE") || !getenv("FAULT_DIRECTORY"))
        return;
    int file = REAL(open)(path, O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        return;
    close(file);
    directory = getenv("FAULT_DIRECTORY");
    control = mapped;
    __atomic_fetch_add(&control->loaded, 1, __ATOMIC_SEQ_CST);
}

/* Whether an operation may fail at all, so that others cost next to nothing. */
static int is_due(enum operation operation)
{
    for (int i = 0; control && i < FAULTS; i++) {
        struct fault *fault = &control->faults[i];
        if (__atomic_load_n(&fault->left, __ATOMIC_SEQ_CST) && fault->operation == operation)
            return 1;
    }
    return 0;
}

/* What is below the directory: "" for the directory itself, NULL for what is elsewhere. */
static const char *name_of(const char *path)
{
    size_t length = strlen(directory);
    if (strncmp(path, directory, length))
        return NULL;
    if (path[length] == '/')
        return path + length + 1;
    return path[length] ? NULL : path + length;
}

/* Lets the call wait if it is to. Returns whether it is to fail; then `errno` says how. */
static int fails_at(enum operation operation, const char *path)
{
    const char *name = name_of(path);
    for (int i = 0; name && i < FAULTS; i++) {
        struct fault *fault = &control->faults[i];
        int64_t left = __atomic_load_n(&fault->left, __ATOMIC_SEQ_CST);
        if (!left || fault->operation != operation || strncmp(name, fault->name, strlen(fault->name)))
            continue;
        while (left && !__atomic_compare_exchange_n(&fault->left, &left, left < 0 ? left : left - 1, 0,
                                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        if (!left)
            continue;
        int error = (int)fault->error;
        __atomic_fetch_add(&fault->hits, 1, __ATOMIC_SEQ_CST);
        if (error) {
            errno = error;
            return 1;
        }
        int gate = REAL(open)(getenv("FAULT_GATE"), O_RDWR | O_CLOEXEC);
        while (flock(gate, LOCK_EX) && errno == EINTR) {
        }
        close(gate);
        return 0;
    }
    return 0;
}

static int fails(enum operation operation, int file)
{
    char link[32], path[PATH_MAX];
    if (!is_due(operation))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails_at(operation, path);
}

/* Only a new file counts. */
static int fails_to_create(const char *path, int flags)
{
    return (flags & O_CREAT) && is_due(CREATE) && fails_at(CREATE, path);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN(function)                                                                                                 \
    int function(const char *path, int flags, ...)                                                                     \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = mode_of(flags, arguments);                                                                       \
        va_end(arguments);                                                                                             \
        return fails_to_create(path, flags) ? -1 : REAL(function)(path, flags, mode);                                  \
    }

OPEN(open)
OPEN(open64)

/* A write that fails has written a part, as one that fills a disk. */
static int fails_to_write(int file, const void *bytes, size_t count, off64_t at)
{
    if (!fails(WRITE, file))
        return 0;
    int error = errno;
    if (at >= 0 && REAL(pwrite64)(file, bytes, count / 2, at) < 0)
        return 1;
    errno = error;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t count)
{
    return fails_to_write(file, bytes, count, -1) ? -1 : REAL(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at)
{
    return fails_to_write(file, bytes, count, at) ? -1 : REAL(pwrite)(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at)
{
    return fails_to_write(file, bytes, count, at) ? -1 : REAL(pwrite64)(file, bytes, count, at);
}

ssize_t read(int file, void *bytes, size_t count)
{
    return fails(READ, file) ? -1 : REAL(read)(file, bytes, count);
}

ssize_t pread(int file, void *bytes, size_t count, off_t at)
{
    return fails(READ, file) ? -1 : REAL(pread)(file, bytes, count, at);
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t at)
{
    return fails(READ, file) ? -1 : REAL(pread64)(file, bytes, count, at);
}

int ftruncate(int file, off_t length)
{
    return fails(TRUNCATE, file) ? -1 : REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length)
{
    return fails(TRUNCATE, file) ? -1 : REAL(ftruncate64)(file, length);
}

int fdatasync(int file)
{
    return fails(SYNC, file) ? -1 : REAL(fdatasync)(file);
}

int fsync(int file)
{
    return fails(SYNC_DIRECTORY, file) ? -1 : REAL(fsync)(file);
}

int unlink(const char *path)
{
    return is_due(REMOVE) && fails_at(REMOVE, path) ? -1 : REAL(unlink)(path);
}
