/* A program to be probed: functions, and static probes of every kind of argument. Each line that it reads is a round; it
 * answers with the round's number and the semaphore's value.
 *
 * The notes are written by hand, as <sys/sdt.h> would, so that no package is needed to compile this:
 * https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
 */
#include <stdio.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

__attribute__((section(".probes"), used)) unsigned short traced_busy_semaphore;

#define NOTE(name, semaphore, arguments)                                                                                          \
	"990:	nop\n"                                                                                                            \
	"	.pushsection .note.stapsdt,\"\",\"note\"\n"                                                                       \
	"	.balign 4\n"                                                                                                      \
	"	.4byte 992f-991f, 994f-993f, 3\n"                                                                                 \
	"991:	.asciz \"stapsdt\"\n"                                                                                             \
	"992:	.balign 4\n"                                                                                                      \
	"993:	.8byte 990b\n"                                                                                                    \
	"	.8byte _.stapsdt.base\n"                                                                                          \
	"	.8byte " semaphore "\n"                                                                                           \
	"	.asciz \"traced\"\n"                                                                                              \
	"	.asciz \"" name "\"\n"                                                                                            \
	"	.asciz \"" arguments "\"\n"                                                                                       \
	"994:	.balign 4\n"                                                                                                      \
	"	.popsection\n"                                                                                                    \
	"	.ifndef _.stapsdt.base\n"                                                                                         \
	"	.pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"                                            \
	"	.weak _.stapsdt.base\n"                                                                                           \
	"	.hidden _.stapsdt.base\n"                                                                                         \
	"_.stapsdt.base: .space 1\n"                                                                                              \
	"	.size _.stapsdt.base, 1\n"                                                                                        \
	"	.popsection\n"                                                                                                    \
	"	.endif\n"

#ifdef __x86_64__
#define CONSTANT "$"
#else
#define CONSTANT ""
#endif

/* volatile: the value is in memory, at the stack pointer. */
#define MIXED(round, memory)                                                                                                      \
	__asm__ volatile(NOTE("mixed", "0", "-4@%0 8@%1 -2@" CONSTANT "-7 -1@%2")                                                 \
			 : : "r"((int)-(round)), "r"((long)(round) << 32), "m"(memory))

NOINLINE int traced_add(int left, int right)
{
	__asm__ volatile("" : : : "memory");
	return left + right;
}

NOINLINE int traced_multiply(int left, int right)
{
	__asm__ volatile("" : : : "memory");
	return left * right;
}

NOINLINE static int traced_hidden(int value)
{
	__asm__ volatile("" : : : "memory");
	return value - 1;
}

static int numbers[] = { 10, 20, 30, 40 };

NOINLINE void places(int round)
{
	volatile signed char memory = (signed char)-round;

	MIXED(round, memory);
	/* Two places with the same arguments, and one with others. */
	__asm__ volatile(NOTE("many", "0", "-4@" CONSTANT "1"));
	__asm__ volatile(NOTE("many", "0", "-4@" CONSTANT "1"));
	__asm__ volatile(NOTE("many", "0", "-4@" CONSTANT "2"));
	__asm__ volatile(NOTE("bare", "0", ""));
#ifdef __x86_64__
	/* An address of base, index and scale: numbers[round + 1]. */
	__asm__ volatile(NOTE("indexed", "0", "-4@4(%0,%1,4)") : : "r"(numbers), "r"((long)round));
#endif
	__asm__ volatile(NOTE("busy", "traced_busy_semaphore", "4@%0") : : "r"(round));
}

int main(void)
{
	int sum = 0;
	char line[64];

	printf("%d\n", (int)getpid());
	fflush(stdout);
	for (int round = 1; fgets(line, sizeof(line), stdin); round++) {
		sum = traced_add(sum, round);
		sum += traced_hidden(traced_multiply(sum, 2));
		places(round);
		getpgid(0);
		printf("%d %d\n", round, *(volatile unsigned short *)&traced_busy_semaphore);
		fflush(stdout);
	}
	return sum == 42;
}
