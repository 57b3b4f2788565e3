// Preloaded into a server under test: while the file named by NEAP_TEST_FAIL_SYNC exists, no write becomes durable.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
  const char* path = getenv("NEAP_TEST_FAIL_SYNC");
  return path && access(path, F_OK) == 0;
}
static int sync_by(const char* name, int fd) {
  if (fails()) {
    errno = EIO;
    return -1;
  }
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return real(fd);
}
int fsync(int fd) { return sync_by("fsync", fd); }
int fdatasync(int fd) { return sync_by("fdatasync", fd); }
