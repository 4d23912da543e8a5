/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "tinyvmm.h"

#define SIZE_MIN (4ull << 20)
#define SIGNATURE_DEFAULT 0x800f12
#define VCPUS_MAX 64
#define SIZE_MAX_32BIT (2ull << 30) /* the guest counts its RAM in a 32-bit register */

static const char usage[] =
	"tinyvmm: run a small counting guest on memory from gmemd\n"
	"\n"
	"  --address PATH      the daemon's socket, or builtin: (default: $GMEM_ADDRESS)\n"
	"  --kind KIND         guest-memfd, memfd or sw-protected (default: guest-memfd);\n"
	"                      the last is private memory, and the guest converts pages of it\n"
	"  --size SIZE         guest RAM with suffix M or G, 4M to 2G (default: 256M)\n"
	"  --name NAME         name of the domain (default: none)\n"
	"  --token-file FILE   make the domain persistent, keep its id and token here\n"
	"  --attach            go on with the domain in the token file\n"
	"  --allocate          allocate all of the RAM before the guest starts\n"
	"  --ticks N           stop after N ticks (default: never)\n"
	"  --tick-ms MS        pause between two ticks (default: 100)\n"
	"  --process           no KVM: this process plays the guest's part\n"
	"  --firmware FILE     for kinds whose guests are launched: the image that is measured.\n"
	"                      The guest is not run; --ticks N keeps it for so long\n"
	"  --hashes FILE       for the page by which the firmware checks the kernel\n"
	"  --id-block FILE     with --id-auth FILE: what the owner has signed\n"
	"  --vcpus N           of a guest that is launched (default: 1)\n"
	"  --signature N       of their processor, EAX of CPUID leaf 1 (default: 8392466)\n"
	"  --help\n";

static void fail(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "tinyvmm: --%s %s: want %s\n", option, value, want);
	exit(2);
}

static uint64_t number(const char *option, const char *text, uint64_t max, char **ret_end)
{
	unsigned long long n;

	errno = 0;
	n = strtoull(text, ret_end, 10);
	if (errno != 0 || *ret_end == text || n > max || strchr(text, '-'))
		fail(option, text, "a number");
	return n;
}

static uint64_t size_of(const char *text)
{
	char *end;
	uint64_t n = number("size", text, 4096, &end);

	if (strcmp(end, "M") == 0)
		n <<= 20;
	else if (strcmp(end, "G") == 0)
		n <<= 30;
	else
		fail("size", text, "a number with suffix M or G");
	if (n < SIZE_MIN || n > SIZE_MAX_32BIT)
		fail("size", text, "4M to 2G");
	return n;
}

static uint64_t count_of(const char *option, const char *text)
{
	char *end;
	uint64_t n = number(option, text, UINT32_MAX, &end);

	if (*end != '\0')
		fail(option, text, "a number");
	return n;
}

static struct image file_of(const char *option, const char *path)
{
	struct image image;

	if (image_read(path, &image) < 0)
		fail(option, path, "a file that can be read");
	return image;
}

static void check_launch(const struct options *options)
{
	if (launch_has(options->kind) != (options->firmware.size > 0))
		fail("kind", options->kind, "--firmware if its guests are launched, else none");
	if ((options->id_block.size != 0 || options->id_auth.size != 0) &&
	    (options->id_block.size != GMEM_ID_BLOCK_SIZE ||
	     options->id_auth.size != GMEM_ID_AUTH_SIZE))
		fail("id-block", "FILE", "96 bytes, with --id-auth of 4096");
	if (options->vcpus == 0 || options->vcpus > VCPUS_MAX)
		fail("vcpus", "N", "1 to 64");
}

void options_parse(struct options *options, int argc, char **argv)
{
	enum {
		ADDRESS = 256,
		KIND,
		SIZE,
		NAME,
		TOKEN_FILE,
		ATTACH,
		ALLOCATE,
		TICKS,
		TICK_MS,
		PROCESS,
		FIRMWARE,
		HASHES,
		ID_BLOCK,
		ID_AUTH,
		VCPUS,
		SIGNATURE,
		HELP
	};
	static const struct option longs[] = {
		{ "address", required_argument, NULL, ADDRESS },
		{ "kind", required_argument, NULL, KIND },
		{ "size", required_argument, NULL, SIZE },
		{ "name", required_argument, NULL, NAME },
		{ "token-file", required_argument, NULL, TOKEN_FILE },
		{ "attach", no_argument, NULL, ATTACH },
		{ "allocate", no_argument, NULL, ALLOCATE },
		{ "ticks", required_argument, NULL, TICKS },
		{ "tick-ms", required_argument, NULL, TICK_MS },
		{ "process", no_argument, NULL, PROCESS },
		{ "firmware", required_argument, NULL, FIRMWARE },
		{ "hashes", required_argument, NULL, HASHES },
		{ "id-block", required_argument, NULL, ID_BLOCK },
		{ "id-auth", required_argument, NULL, ID_AUTH },
		{ "vcpus", required_argument, NULL, VCPUS },
		{ "signature", required_argument, NULL, SIGNATURE },
		{ "help", no_argument, NULL, HELP },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options = (struct options){
		.kind = "guest-memfd",
		.size = 256ull << 20,
		.tick_ms = 100,
		.vcpus = 1,
		.signature = SIGNATURE_DEFAULT,
	};
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case ADDRESS:
			options->address = optarg;
			break;
		case KIND:
			options->kind = optarg;
			break;
		case SIZE:
			options->size = size_of(optarg);
			break;
		case NAME:
			options->name = optarg;
			break;
		case TOKEN_FILE:
			options->token_file = optarg;
			break;
		case ATTACH:
			options->attach = true;
			break;
		case ALLOCATE:
			options->allocate = true;
			break;
		case TICKS:
			options->ticks = count_of("ticks", optarg);
			break;
		case TICK_MS:
			options->tick_ms = (unsigned)count_of("tick-ms", optarg);
			break;
		case PROCESS:
			options->process = true;
			break;
		case FIRMWARE:
			options->firmware = file_of("firmware", optarg);
			break;
		case HASHES:
			options->hashes = file_of("hashes", optarg);
			break;
		case ID_BLOCK:
			options->id_block = file_of("id-block", optarg);
			break;
		case ID_AUTH:
			options->id_auth = file_of("id-auth", optarg);
			break;
		case VCPUS:
			options->vcpus = (unsigned)count_of("vcpus", optarg);
			break;
		case SIGNATURE:
			options->signature = (uint32_t)count_of("signature", optarg);
			break;
		case 'h':
		case HELP:
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc)
		fail(argv[optind], "", "no further argument");
	if (options->attach && !options->token_file) {
		fputs("tinyvmm: --attach needs --token-file\n", stderr);
		exit(2);
	}
	check_launch(options);
	options->is_private = strcmp(options->kind, "sw-protected") == 0;
	if (options->is_private && (options->process || options->token_file)) {
		fputs("tinyvmm: private memory belongs to one VM and ends with it: "
		      "no --process, no --token-file\n",
		      stderr);
		exit(2);
	}
}
