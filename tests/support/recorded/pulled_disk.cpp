// A disk that can be pulled, for one program and its children: LD_PRELOAD this.
//
// PULLED_DISK_DIR   the folder that is "the disk"
// PULLED_DISK_HELD  a folder that gets what a real disk would hold: a file's bytes at its last
//                   fsync or fdatasync, by inode number (written under another name, then renamed)
//
// Once the file "pulled" is in PULLED_DISK_HELD, every write to the disk fails with EIO.

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

bool on_disk(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t size = readlink(link, path, sizeof path - 1);
    const char *disk = setting("PULLED_DISK_DIR");
    return size > 0 && *disk && !strncmp(path, disk, strlen(disk));
}

bool pulled() { return access((std::string(setting("PULLED_DISK_HELD")) + "/pulled").c_str(), F_OK) == 0; }

bool fails(int fd) {
    if (!on_disk(fd) || !pulled()) return false;
    errno = EIO;
    return true;
}

void hold(int fd) {
    struct stat found;
    if (fstat(fd, &found) || !S_ISREG(found.st_mode)) return;
    const std::string name = std::string(setting("PULLED_DISK_HELD")) + "/" + std::to_string(found.st_ino);
    const std::string draft = name + "." + std::to_string(syscall(SYS_gettid));
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const int from = open(link, O_RDONLY | O_CLOEXEC);
    const int to = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    char buffer[65536];
    ssize_t size;
    while ((size = read(from, buffer, sizeof buffer)) > 0)
        if (syscall(SYS_write, to, buffer, size) != size) abort();
    close(from);
    close(to);
    rename(draft.c_str(), name.c_str());
}

template <typename Function> Function next(const char *name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

} // namespace

extern "C" {

ssize_t write(int fd, const void *data, size_t size) {
    return fails(fd) ? -1 : next<ssize_t (*)(int, const void *, size_t)>("write")(fd, data, size);
}

ssize_t writev(int fd, const iovec *parts, int count) {
    return fails(fd) ? -1 : next<ssize_t (*)(int, const iovec *, int)>("writev")(fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return fails(fd) ? -1 : next<ssize_t (*)(int, const void *, size_t, off_t)>("pwrite")(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails(fd) ? -1 : next<ssize_t (*)(int, const void *, size_t, off64_t)>("pwrite64")(fd, data, size, at);
}

int fsync(int fd) {
    if (fails(fd)) return -1;
    if (on_disk(fd)) hold(fd);
    return 0; // the test's real disk is not at stake
}

int fdatasync(int fd) { return fsync(fd); }
}
