/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM whose memory is converted in place, as small as it can be: it does what it is told on
 * stdin, a line at a time, and answers each with a line. On the platform model, preloaded.
 *
 * usage: t_in_place SOCKET KIND VM_TYPE
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gmem.h>
#include <gmem_kinds.h>
#include <linux/kvm.h>

#define SIZE (UINT64_C(16) << 20)
#define GPA (UINT64_C(1) << 32)

static gmem_client *client;
static gmem_domain *domain;
static gmem_region *region;
static uint8_t *ram;

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)printf("%s: %s\n", what, client ? gmem_error(client)->text : strerror(errno));
	exit(1);
}

static int open_vm(unsigned long type)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, type);

	must(vm, "a VM");
	(void)close(kvm);
	return vm;
}

static void open_all(const char *socket, const char *kind, unsigned long type)
{
	const struct gmem_domain_spec spec = { .kind = kind };
	const struct gmem_region_spec memory = { .gpa = GPA, .size = SIZE };
	const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 2 };
	struct stat file;
	void *address;

	must(gmem_connect(socket, &(struct gmem_connect_spec){ .name = "t_in_place" }, &client),
	     "connect");
	must(gmem_domain_create(client, &spec, &domain), "domain");
	must(gmem_vm_adopt(domain, open_vm(type)), "adopt");
	if (strcmp(kind, "snp") == 0)
		must(gmem_launch_start(domain, &snp, sizeof(snp)), "start");
	must(gmem_region_create(domain, &memory, &region), "region");
	must(gmem_region_bind(region, 0), "bind");
	must(gmem_region_map(region, &address), "map");
	must(fstat(gmem_region_fd(region), &file), "fstat");
	ram = address;
	(void)printf("bound inode %ju size %jd\n", (uintmax_t)file.st_ino, (intmax_t)file.st_size);
}

static void answer(int r)
{
	const struct gmem_error *failure = gmem_error(client);

	if (r >= 0)
		(void)printf("ok\n");
	else
		(void)printf("%s/%s offset %" PRIu64 ": %s\n", gmem_status_name(failure->status),
			     failure->rule, failure->offset, failure->text);
}

static int print_run(void *arg, const struct gmem_page_run *run)
{
	(void)arg;
	(void)printf(" %" PRIu64 "+%" PRIu64 "=%s", run->offset >> 20, run->length >> 20,
		     gmem_page_state_name(run->state));
	return 0;
}

static void check(const uint8_t *at, uint64_t length, int byte)
{
	for (uint64_t i = 0; i < length; i++)
		if (at[i] != byte) {
			(void)printf("byte %" PRIu64 " is %d\n", i, at[i]);
			return;
		}
	(void)printf("ok\n");
}

/* From a source of this byte. */
static int populate_from_source(struct gmem_range range, int byte)
{
	struct gmem_population population = { .offset = range.offset, .length = range.length };
	void *bytes = malloc(range.length);
	int r;

	memset(bytes, byte, range.length);
	r = gmem_source_create(domain, bytes, range.length, &population.source);
	free(bytes);
	return r < 0 ? r : gmem_region_populate(region, &population);
}

static void obey(const char *word, struct gmem_range range, int byte)
{
	const struct gmem_population population = { .offset = range.offset,
						    .length = range.length };

	if (strcmp(word, "shared") == 0)
		answer(gmem_region_convert(region, &range, 1, GMEM_PAGE_SHARED));
	else if (strcmp(word, "private") == 0)
		answer(gmem_region_convert(region, &range, 1, GMEM_PAGE_PRIVATE));
	else if (strcmp(word, "populate") == 0)
		answer(gmem_region_populate(region, &population));
	else if (strcmp(word, "source") == 0)
		answer(populate_from_source(range, byte));
	else if (strcmp(word, "finish") == 0)
		answer(gmem_launch_finish(domain, NULL));
	else if (strcmp(word, "check") == 0)
		check(ram + range.offset, range.length, byte);
	else if (strcmp(word, "fill") == 0) {
		memset(ram + range.offset, byte, range.length);
		(void)printf("ok\n");
	} else if (strcmp(word, "map") == 0) {
		(void)printf("map");
		must(gmem_get_page_map(client, gmem_region_id(region), print_run, NULL), "map");
		(void)printf("\n");
	} else {
		(void)printf("what?\n");
	}
}

/* Offsets and lengths are MiB. */
int main(int argc, char **argv)
{
	uint64_t offset, length;
	char line[256], word[32];
	int byte;

	if (argc != 4)
		return 2;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	open_all(argv[1], argv[2], strtoul(argv[3], NULL, 10));
	while (fgets(line, sizeof(line), stdin)) {
		offset = length = 0;
		byte = 0;
		if (sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %d", word, &offset, &length, &byte) <
		    1)
			return 2;
		obey(word, (struct gmem_range){ offset << 20, length << 20 }, byte);
	}
	gmem_disconnect(client);
	return 0;
}
