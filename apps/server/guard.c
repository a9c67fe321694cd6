/* Fences around a server program. */
#include "guard.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The sanitizers look at their own process in ways that no server needs (files in /proc, ptrace): they get no fences. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

static void add(const char **list, size_t *count, const char *path)
{
    if (path != NULL && *count < GUARD_PATHS_MAX)
        list[(*count)++] = path;
}

void guard_add_readable(struct guard_paths *paths, const char *path)
{
    add(paths->readable, &paths->readable_count, path);
}

void guard_add_writable(struct guard_paths *paths, const char *path)
{
    add(paths->writable, &paths->writable_count, path);
}

void guard_add_directory(struct guard_paths *paths, const char *path)
{
    char part[PATH_MAX];

    /* What cannot be made is told of when it is used. */
    for (size_t i = 1; path[0] != 0 && i <= strlen(path) && i < sizeof part; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0700) == 0)
            log_line(LOG_LEVEL_INFO, "made the directory %s", part);
    }
    guard_add_writable(paths, path);
}

void guard_process(void)
{
    struct rlimit files, none = { 0, 0 };
    bool stays_dumpable = false;

#ifdef IS_SANITIZED
    stays_dumpable = true;
#endif

    /* RLIMIT_CORE alone does not stop a core_pattern that is a pipe. */
    if ((!stays_dumpable && prctl(PR_SET_DUMPABLE, 0) != 0) || setrlimit(RLIMIT_CORE, &none) != 0)
        log_line(LOG_LEVEL_WARN, "core dumps cannot be switched off: %s", strerror(errno));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files); /* what is refused then is counted and logged where it matters */
    }
}

/* ---- Files ---- */

enum {
    READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
            LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR,
    ALL = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1 /* everything of the first version */
};

/* The directory of a file, or the path itself where it is none. False: neither is there. */
static bool directory_of(const char *path, char *out, size_t size)
{
    struct stat info;
    char *slash;

    if (snprintf(out, size, "%s", path) >= (int)size)
        return false;
    if (stat(out, &info) == 0 && S_ISDIR(info.st_mode))
        return true;
    slash = strrchr(out, '/');
    if (slash == NULL)
        snprintf(out, size, ".");
    else if (slash == out)
        out[1] = 0;
    else
        *slash = 0;
    return stat(out, &info) == 0;
}

static bool allow(int rules, const char *path, uint64_t access, bool is_exact)
{
    struct landlock_path_beneath_attr rule = { .allowed_access = access };
    char directory[PATH_MAX];
    bool done;

    if (is_exact)
        snprintf(directory, sizeof directory, "%s", path);
    else if (!directory_of(path, directory, sizeof directory))
        return true; /* it is not there, and cannot come: nothing to allow */
    if ((rule.parent_fd = open(directory, O_PATH | O_CLOEXEC)) < 0)
        return errno == ENOENT || errno == ENOTDIR;
    done = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent_fd);
    return done;
}

/* What the C library and the TLS library read by themselves: names, certificates, time zones, random numbers. */
static bool allow_system(int rules)
{
    static const char *const read[] = { "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/proc/sys" };
    bool done = true;

    for (size_t i = 0; i < sizeof read / sizeof read[0]; i++)
        done = allow(rules, read[i], READ, true) && done;
    done = allow(rules, "/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE, true) && done;
    return allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE, true) && done;
}

void guard_files(const struct guard_paths *paths)
{
    struct landlock_ruleset_attr attr = { .handled_access_fs = ALL };
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int rules;
    bool done;

#ifdef IS_SANITIZED
    return;
#endif
    if (version < 1 || (rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0)) < 0) {
        log_line(LOG_LEVEL_INFO, "this kernel has no landlock: files are not fenced off");
        return;
    }
    done = allow_system(rules);
    for (size_t i = 0; i < paths->readable_count; i++)
        done = allow(rules, paths->readable[i], READ, false) && done;
    for (size_t i = 0; i < paths->writable_count; i++)
        done = allow(rules, paths->writable[i], READ | WRITE, true) && done;
    if (!done || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        log_line(LOG_LEVEL_WARN, "files cannot be fenced off: %s", strerror(errno));
    close(rules);
}

/* ---- System calls ---- */

#ifndef IS_SANITIZED
/* What our servers do; what is not here fails with ENOSYS, upon which libraries fall back to an older way. */
static const char *const calls[] = {
    /* memory, threads, time, signals, the end */
    "brk",
    "mmap",
    "mmap2",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "futex",
    "futex_time64",
    "futex_waitv",
    "clone",
    "clone3",
    "set_robust_list",
    "get_robust_list",
    "rseq",
    "membarrier",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "gettid",
    "getpid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getrlimit",
    "prlimit64",
    "getrusage",
    "sysinfo",
    "uname",
    "getcpu",
    "clock_gettime",
    "clock_gettime64",
    "clock_getres",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "gettimeofday",
    "nanosleep",
    "time",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "rt_sigtimedwait",
    "signalfd4",
    "restart_syscall",
    "exit",
    "exit_group",
    "tgkill",
    "getrandom",
    "prctl",
    "arch_prctl",
    /* waiting */
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "ppoll_time64",
    "select",
    "pselect6",
    "eventfd2",
    "pipe2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    /* sockets */
    "socket",
    "socketpair",
    "bind",
    "listen",
    "accept",
    "accept4",
    "connect",
    "shutdown",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "ioctl",
    /* files */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "fstat",
    "stat",
    "lstat",
    "newfstatat",
    "fstatat64",
    "fstat64",
    "stat64",
    "statx",
    "statfs",
    "fstatfs",
    "lseek",
    "_llseek",
    "fcntl",
    "fcntl64",
    "dup",
    "dup2",
    "dup3",
    "fsync",
    "fdatasync",
    "ftruncate",
    "flock",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "getdents64",
    "readlink",
    "readlinkat",
    "access",
    "faccessat",
    "faccessat2",
    "getcwd",
    "umask",
    "chmod",
    "fchmod",
    "fchmodat",
    "linkat",
    "fadvise64",
    "sync_file_range",
    "syncfs",
};
/* What nothing in here ever does: whoever tries is not us any more. */
static const char *const killers[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "setns",
    "unshare",
    "reboot",
    "swapon",
    "swapoff",
    "settimeofday",
    "clock_settime",
    "personality",
};

static int add_rules(scmp_filter_ctx filter, const char *const *names, size_t count, uint32_t action)
{
    int err = 0;

    for (size_t i = 0; err == 0 && i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);

        /* A call that this architecture has not needs no rule. */
        if (number != __NR_SCMP_ERROR && number >= 0)
            err = seccomp_rule_add(filter, action, number, 0);
    }
    return err;
}

/* Takes over the filter, which may be NULL; err: what went wrong on the way here. */
static void load(scmp_filter_ctx filter, int err)
{
    if (err == 0)
        err = seccomp_load(filter);
    if (err != 0)
        log_line(LOG_LEVEL_WARN, "system calls cannot be fenced off: %s", strerror(-err));
    seccomp_release(filter);
}

static void load_filter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int err = filter == NULL ? -ENOMEM : 0;

    if (err == 0)
        err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (err == 0)
        err = add_rules(filter, calls, sizeof calls / sizeof calls[0], SCMP_ACT_ALLOW);
    if (err == 0)
        err = add_rules(filter, killers, sizeof killers / sizeof killers[0], SCMP_ACT_KILL_PROCESS);
    load(filter, err);
}

/*
 * What a ring does passes by every filter, so none may be there when the calls are fenced off. libuv (1.45 and newer) makes one
 * with each loop and does without where it gets none, but ends the process where it has one that it may not enter.
 */
static void load_filter_of_rings(void)
{
    static const char *const ring[] = { "io_uring_setup" };
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    load(filter, filter == NULL ? -ENOMEM : add_rules(filter, ring, 1, SCMP_ACT_ERRNO(ENOSYS)));
}
#endif

void guard_rings(void)
{
#ifndef IS_SANITIZED
    load_filter_of_rings();
#endif
}

void guard_calls(void)
{
#ifndef IS_SANITIZED
    load_filter();
#endif
}
