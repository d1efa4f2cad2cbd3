/* Stands between a server and the C library: system calls that fail on command, and a clock that
 * jumps. Commands lie in a file that both sides map; faults.py has the other side. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, CREATE = 8, UNLINK = 16, RENAME = 32, MKDIR = 64 };
enum { ONCE, SHORT, FROM_THEN_ON, SWALLOW };
enum { PASS, FAIL, HALVE, PRETEND };

struct control {
  int64_t clock_nanoseconds; /* added to the time of day */
  int32_t calls;             /* which count, a sum of the names above; 0 lets all pass */
  int32_t mode;
  int32_t error;
  int32_t left;              /* the call that brings it to 0 fails */
  int32_t fired;             /* how many failed */
  int32_t call;              /* the last that did */
  char suffix[32];           /* of the paths that count */
  char path[PATH_MAX];       /* of the last that failed, for who reads it */
};

static volatile struct control *control;
static const char *folder;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTS_CONTROL");
  folder = getenv("FAULTS_FOLDER");
  if (path == NULL || folder == NULL) return;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (map != MAP_FAILED) control = map;
}

static int decide(int call, const char *path) {
  char suffix[sizeof control->suffix];
  if (control == NULL || !(control->calls & call)) return PASS;
  for (size_t at = 0; at < sizeof suffix; at++) suffix[at] = control->suffix[at];
  size_t length = strlen(path), tail = strnlen(suffix, sizeof suffix);
  if (strncmp(path, folder, strlen(folder)) || length < tail) return PASS;
  if (strcmp(path + length - tail, suffix)) return PASS;
  int left = __atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST);
  if (left > 0 || (left < 0 && control->mode <= SHORT)) return PASS;
  __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
  control->call = call;
  for (size_t at = 0; at <= length; at++) control->path[at] = path[at];
  if (control->mode == SHORT) return HALVE;
  if (control->mode == SWALLOW) return PRETEND;
  errno = control->error;
  return FAIL;
}

static int decide_on(int call, int file) {
  char link[64], path[PATH_MAX];
  if (control == NULL || !(control->calls & call)) return PASS;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return PASS;
  path[length] = 0;
  return decide(call, path);
}

static ssize_t put(int file, const void *data, size_t count, off_t offset, int positioned) {
  switch (decide_on(WRITE, file)) {
    case FAIL: return -1;
    case PRETEND: return (ssize_t)count;
    case HALVE: count = (count + 1) / 2;
  }
  if (positioned) return syscall(SYS_pwrite64, file, data, count, offset);
  return syscall(SYS_write, file, data, count);
}

ssize_t pwrite(int file, const void *data, size_t count, off_t offset) {
  return put(file, data, count, offset, 1);
}
ssize_t pwrite64(int file, const void *data, size_t count, off64_t offset) {
  return put(file, data, count, offset, 1);
}
ssize_t write(int file, const void *data, size_t count) { return put(file, data, count, 0, 0); }

#define UNLESS(decision, call)            \
  int decided = (decision);               \
  if (decided == FAIL) return -1;         \
  if (decided == PRETEND) return 0;       \
  return (int)(call)

int fsync(int file) { UNLESS(decide_on(SYNC, file), syscall(SYS_fsync, file)); }
int fdatasync(int file) { UNLESS(decide_on(SYNC, file), syscall(SYS_fdatasync, file)); }
int ftruncate(int file, off_t size) {
  UNLESS(decide_on(TRUNCATE, file), syscall(SYS_ftruncate, file, size));
}
int ftruncate64(int file, off64_t size) {
  UNLESS(decide_on(TRUNCATE, file), syscall(SYS_ftruncate, file, size));
}
int unlink(const char *path) { UNLESS(decide(UNLINK, path), syscall(SYS_unlink, path)); }
int mkdir(const char *path, mode_t mode) {
  UNLESS(decide(MKDIR, path), syscall(SYS_mkdir, path, mode));
}
int rename(const char *path, const char *to) {
  UNLESS(decide(RENAME, path), syscall(SYS_rename, path, to));
}

static int open_at(int directory, const char *path, int flags, mode_t mode) {
  if ((flags & O_CREAT) && decide(CREATE, path) == FAIL) return -1;
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

#define MODE(flags)                             \
  mode_t mode = 0;                              \
  if ((flags) & (O_CREAT | O_TMPFILE)) {        \
    va_list rest;                               \
    va_start(rest, flags);                      \
    mode = (mode_t)va_arg(rest, int);           \
    va_end(rest);                               \
  }

int open(const char *path, int flags, ...) {
  MODE(flags) return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags) return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
  MODE(flags) return open_at(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
  MODE(flags) return open_at(directory, path, flags, mode);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (control == NULL || clock != CLOCK_REALTIME) return result;
  int64_t nanoseconds = now->tv_nsec + control->clock_nanoseconds % 1000000000;
  now->tv_sec += control->clock_nanoseconds / 1000000000;
  if (nanoseconds < 0) {
    nanoseconds += 1000000000;
    now->tv_sec--;
  }
  now->tv_sec += nanoseconds / 1000000000;
  now->tv_nsec = nanoseconds % 1000000000;
  return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec precise;
  int result = clock_gettime(CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  (void)zone;
  return result;
}
time_t time(time_t *now) {
  struct timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  if (now != NULL) *now = precise.tv_sec;
  return precise.tv_sec;
}
