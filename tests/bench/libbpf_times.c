/* libbpf's side of the benchmark: seconds for open, load and close of an object, COUNT times in one process.
 *
 *   libbpf_times OBJECT COUNT     prints a line for each time
 */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0;

	if (count <= 0)
		return 2;
	while (count--) {
		double start = now();
		struct bpf_object *object = bpf_object__open_file(argv[1], NULL);

		if (!object || bpf_object__load(object))
			return 1;
		bpf_object__close(object);
		printf("%.9f\n", now() - start);
	}
	return 0;
}
