// What libbpf makes of each program of each object: the reference of the conformance run.
//
//   reference [--seconds N] OBJECT...
//
// Every program of every object is loaded alone: the object is opened afresh, autoload is switched on for this program and
// off for all others, and the object is loaded. One line of JSON is printed for each program, in the form of
// `bpfload check -j`. Nothing is attached, and all pins land on a bpffs of the process's own that is emptied each time.
//
// The loads run in a worker process that goes through all objects, so that libbpf's probes of the kernel are paid once. A
// worker that crashes, or that needs more than N seconds for one program, is replaced by another that goes on with the
// next program; the program gets a line with verdict "error" and errno -ETIMEDOUT or -EFAULT.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define BPFFS "/sys/fs/bpf"

// Where the worker is: shared with the parent, which reads it when the worker dies or hangs.
struct progress {
	volatile int object;         // index of the object in the arguments
	volatile int program;        // index of the program in the object; -1 before the first
	volatile unsigned long step; // counts programs, so that the parent sees that the worker gets on
	char program_name[256];      // "" while an object is opened
	char section[256];
};

static struct progress *progress;
static char message[4096];
static size_t message_len;

// ---- messages ----------------------------------------------------------------------------------------------------------

static void add_message(const char *text, size_t len)
{
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	if (!len || message_len + 3 >= sizeof(message))
		return;
	if (message_len) {
		memcpy(message + message_len, "; ", 2);
		message_len += 2;
	}
	if (len > sizeof(message) - 1 - message_len)
		len = sizeof(message) - 1 - message_len;
	memcpy(message + message_len, text, len);
	message_len += len;
	message[message_len] = 0;
}

// Of a verifier log only the line before the statistics says why.
static void add_verifier_log(char *log)
{
	char *line, *save = NULL, *before = NULL, *last = NULL;

	for (line = strtok_r(log, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(line, "processed ", 10) || !strncmp(line, "-- END PROG LOAD LOG", 20))
			break;
		before = last;
		last = line;
	}
	if (before && last && (last[0] == ' ' || last[0] == ';'))
		add_message(before, strlen(before));
	if (last)
		add_message(last, strlen(last));
}

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text, *log;

	if (level != LIBBPF_WARN || vasprintf(&text, format, args) < 0)
		return 0;
	log = strstr(text, "-- BEGIN PROG LOAD LOG --\n");
	if (log)
		add_verifier_log(log + strlen("-- BEGIN PROG LOAD LOG --\n"));
	else
		add_message(text, strlen(text));
	free(text);
	return 0;
}

// ---- one line of JSON --------------------------------------------------------------------------------------------------

static void put_string(const char *text)
{
	if (!text) {
		fputs("null", stdout);
		return;
	}
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

struct result {
	int error;
	const char *type;
	char tag[2 * BPF_TAG_SIZE + 1];
	size_t insns;
	struct bpf_prog_info info;
};

static void put_line(const char *path, const char *program, const char *section, const struct result *r)
{
	const char *name = strrchr(path, '/');

	printf("{\"object\": ");
	put_string(name ? name + 1 : path);
	printf(", \"program\": ");
	put_string(program);
	printf(", \"section\": ");
	put_string(section);
	printf(", \"verdict\": \"%s\", \"errno\": %d, \"type\": ", r->error ? "error" : "ok", r->error);
	put_string(r->type);
	printf(", \"tag\": ");
	put_string(r->error ? NULL : r->tag);
	printf(", \"insns\": %zu, \"verified_insns\": %u, \"maps\": %u, \"func_infos\": %u, \"line_infos\": %u, \"message\": ", r->insns,
	       r->info.verified_insns, r->info.nr_map_ids, r->info.nr_func_info, r->info.nr_line_info);
	put_string(message);
	puts("}");
	fflush(stdout);
}

// ---- loading -----------------------------------------------------------------------------------------------------------

static void empty_bpffs(const char *dir)
{
	struct dirent *entry;
	char path[4096];
	DIR *d = opendir(dir);

	if (!d)
		return;
	while ((entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (unlink(path) && errno == EISDIR) {
			empty_bpffs(path);
			rmdir(path);
		}
	}
	closedir(d);
}

// The object, or NULL with a result that says why not.
static struct bpf_object *open_object(const char *path, struct result *r)
{
	struct bpf_object *obj;

	progress->program_name[0] = progress->section[0] = 0;
	progress->step++;
	message_len = 0;
	message[0] = 0;
	obj = bpf_object__open_file(path, NULL);
	if (!obj)
		r->error = errno ? -errno : -EINVAL;
	return obj;
}

static void load_alone(const char *path, int index)
{
	struct bpf_program *p, *wanted = NULL;
	struct result r = {};
	struct bpf_object *obj;
	__u32 len = sizeof(r.info);
	int i = 0;

	obj = open_object(path, &r);
	if (!obj) {
		put_line(path, NULL, NULL, &r);
		return;
	}
	bpf_object__for_each_program(p, obj) {
		bpf_program__set_autoload(p, i == index);
		if (i++ == index)
			wanted = p;
	}
	snprintf(progress->program_name, sizeof(progress->program_name), "%s", bpf_program__name(wanted));
	snprintf(progress->section, sizeof(progress->section), "%s", bpf_program__section_name(wanted));
	r.error = bpf_object__load(obj);
	r.type = libbpf_bpf_prog_type_str(bpf_program__type(wanted));
	r.insns = bpf_program__insn_cnt(wanted);
	if (!r.error && bpf_program__fd(wanted) < 0)
		r.error = bpf_program__fd(wanted);
	if (!r.error && bpf_prog_get_info_by_fd(bpf_program__fd(wanted), &r.info, &len))
		r.error = -errno;
	if (!r.error) {
		for (i = 0; i < BPF_TAG_SIZE; i++)
			sprintf(r.tag + 2 * i, "%02x", r.info.tag[i]);
		r.type = libbpf_bpf_prog_type_str(r.info.type);
	}
	put_line(path, bpf_program__name(wanted), bpf_program__section_name(wanted), &r);
	bpf_object__close(obj);
	empty_bpffs(BPFFS);
}

static int count_programs(const char *path)
{
	struct bpf_program *p;
	struct result r = {};
	struct bpf_object *obj;
	int count = 0;

	obj = open_object(path, &r);
	if (!obj) {
		put_line(path, NULL, NULL, &r);
		return 0;
	}
	bpf_object__for_each_program(p, obj)
		count++;
	bpf_object__close(obj);
	return count;
}

static void work(char **objects, int count)
{
	int programs;

	for (; progress->object < count; progress->object++, progress->program = -1) {
		programs = count_programs(objects[progress->object]);
		for (progress->program++; progress->program < programs; progress->program++)
			load_alone(objects[progress->object], progress->program);
	}
	fflush(stdout);
	_exit(0);
}

// ---- the parent --------------------------------------------------------------------------------------------------------

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// Wait for the worker. Returns 0 if it has done everything, else the errno for the program it was at.
static int watch(pid_t worker, double seconds)
{
	int status;
	unsigned long step = progress->step;
	double since = now();
	sigset_t child;
	struct timespec tick = { .tv_nsec = 500000000 };

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		if (waitpid(worker, &status, WNOHANG) == worker)
			return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EFAULT;
		sigtimedwait(&child, NULL, &tick);
		if (progress->step != step) {
			step = progress->step;
			since = now();
		} else if (now() - since > seconds) {
			kill(worker, SIGKILL);
			waitpid(worker, &status, 0);
			return -ETIMEDOUT;
		}
	}
}

int main(int argc, char **argv)
{
	double seconds = 10;
	int first = 1;
	sigset_t child;

	if (argc > 2 && !strcmp(argv[1], "--seconds")) {
		seconds = atof(argv[2]);
		first = 3;
	}
	if (first >= argc) {
		fprintf(stderr, "usage: %s [--seconds N] OBJECT...\n", argv[0]);
		return 2;
	}
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("bpffs", BPFFS, "bpf", 0, NULL)) {
		perror("a bpffs of our own at " BPFFS);
		return 1;
	}
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	progress->program = -1;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	libbpf_set_print(print);
	while (progress->object < argc - first) {
		struct result r = {};
		pid_t worker = fork();

		if (worker < 0) {
			perror("fork");
			return 1;
		}
		if (!worker)
			work(argv + first, argc - first);
		r.error = watch(worker, seconds);
		if (!r.error)
			break;
		snprintf(message, sizeof(message), r.error == -ETIMEDOUT ? "timed out" : "libbpf crashed");
		empty_bpffs(BPFFS);
		if (progress->program_name[0]) {
			// The next worker goes on with the program after this one: work() begins with an increment.
			put_line(argv[first + progress->object], progress->program_name, progress->section, &r);
		} else {
			put_line(argv[first + progress->object], NULL, NULL, &r);
			progress->object++;
			progress->program = -1;
		}
	}
	return 0;
}
