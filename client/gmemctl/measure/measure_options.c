/* SPDX-License-Identifier: Apache-2.0 */
#include "measure_options.h"

#include <getopt.h>
#include <string.h>

#include "gm_cpu_model.h"
#include "gm_page_hash.h"
#include "input.h"

static const char help[] =
	"gmemctl measure snp|sev|seves --ovmf FILE [--vcpus N --vcpu-type TYPE] [OPTION...]\n"
	"gmemctl measure tdx --tdvf FILE\n"
	"gmemctl measure snp|sev|seves|tdx --pages FILE\n\n"
	"The digest that the hardware will have measured of a launch, as one line of hex.\n\n"
	"A guest:\n"
	"  --ovmf FILE, --tdvf FILE   the firmware's image\n"
	"  --vcpus N                  snp, seves: 0 leaves their registers out\n"
	"  --vcpu-type TYPE           a -cpu model of QEMU (EPYC-v4, EPYC-Milan...), or a "
	"signature\n"
	"  --vcpu-sig SIGNATURE       CPUID.1 EAX; or --vcpu-family, --vcpu-model, "
	"--vcpu-stepping\n"
	"  --kernel FILE, --initrd FILE, --append STRING\n"
	"                             what the firmware is to check by hashes\n"
	"  --guest-features X         SEV_FEATURES of the vCPUs (snp: 0x1, seves: 0)\n"
	"  --vmm qemu|ec2|gce|kvm     whose registers and order (qemu)\n"
	"  --rdx X                    RDX of the vCPUs, instead of what VMM and type give\n"
	"  --fpu zero|reset           x87 and SSE state: zero before Linux 6.10 (the VMM's)\n"
	"  --gpa-bits N               bits of a guest-physical address (gce: 48)\n"
	"  --ovmf-hash HEX            snp: digest after the firmware, instead of its contents\n"
	"  --firmware-only            snp: only that digest\n"
	"  --svsm FILE, --svsm-vars-size SIZE\n"
	"                             snp: an SVSM below the firmware and its variables\n\n"
	"Operations:\n"
	"  --pages FILE               an object of JSON or a list of them, - for standard input;\n"
	"                             one line each, \"-\" for one that is refused\n\n"
	"  --json                     what was measured: a row for each step\n"
	"  --diff MANIFEST            against what --json wrote: tells the first page, register "
	"or\n"
	"                             step that differs, and exits with 1\n"
	"  --plan FOLDER              write a plan there, for LaunchPlans= of gmemd-policy(5)\n"
	"  --threads N                that hash (one for each processor)";

enum word {
	OVMF = 256,
	TDVF,
	PAGES,
	DIFF,
	PLAN,
	KERNEL,
	INITRD,
	APPEND,
	SVSM,
	VARS_SIZE,
	VCPUS,
	VCPU_TYPE,
	VCPU_SIG,
	VCPU_FAMILY,
	VCPU_MODEL,
	VCPU_STEPPING,
	FEATURES,
	VMM,
	RDX,
	FPU,
	GPA_BITS,
	OVMF_HASH,
	FIRMWARE_ONLY,
	THREADS,
	JSON,
};

static const struct option longs[] = {
	{ "ovmf", required_argument, NULL, OVMF },
	{ "tdvf", required_argument, NULL, TDVF },
	{ "pages", required_argument, NULL, PAGES },
	{ "diff", required_argument, NULL, DIFF },
	{ "plan", required_argument, NULL, PLAN },
	{ "kernel", required_argument, NULL, KERNEL },
	{ "initrd", required_argument, NULL, INITRD },
	{ "append", required_argument, NULL, APPEND },
	{ "svsm", required_argument, NULL, SVSM },
	{ "svsm-vars-size", required_argument, NULL, VARS_SIZE },
	{ "vcpus", required_argument, NULL, VCPUS },
	{ "vcpu-type", required_argument, NULL, VCPU_TYPE },
	{ "vcpu-sig", required_argument, NULL, VCPU_SIG },
	{ "vcpu-family", required_argument, NULL, VCPU_FAMILY },
	{ "vcpu-model", required_argument, NULL, VCPU_MODEL },
	{ "vcpu-stepping", required_argument, NULL, VCPU_STEPPING },
	{ "guest-features", required_argument, NULL, FEATURES },
	{ "vmm", required_argument, NULL, VMM },
	{ "rdx", required_argument, NULL, RDX },
	{ "fpu", required_argument, NULL, FPU },
	{ "gpa-bits", required_argument, NULL, GPA_BITS },
	{ "ovmf-hash", required_argument, NULL, OVMF_HASH },
	{ "firmware-only", no_argument, NULL, FIRMWARE_ONLY },
	{ "threads", required_argument, NULL, THREADS },
	{ "json", no_argument, NULL, JSON },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct parser {
	struct ctl *ctl;
	struct measure_options *options;
	uint64_t given; /* bit N: the word OVMF + N */
	uint64_t family, model, stepping;
};

static bool given(const struct parser *parser, enum word word)
{
	return parser->given >> (word - OVMF) & 1;
}

static const char *name_of(enum word word)
{
	return longs[word - OVMF].name;
}

static int complain(const struct parser *parser, enum word word, const char *what)
{
	return ctl_complain(parser->ctl, CTL_USAGE, "measure: --%s %s", name_of(word), what);
}

static int take_number(const struct parser *parser, enum word word, uint64_t max,
		       uint64_t *ret_number)
{
	if (input_number(optarg, ret_number) == 0 && *ret_number <= max)
		return CTL_OK;
	return ctl_complain(parser->ctl, CTL_USAGE, "measure: --%s %s: not a number up to %llu",
			    name_of(word), optarg, (unsigned long long)max);
}

static int take_type(const struct parser *parser, enum word word)
{
	struct gm_guest *guest = &parser->options->guest;
	uint64_t number;

	guest->has_signature = true;
	if (word == VCPU_TYPE && gm_cpu_model_find(optarg, &guest->signature) == 0)
		return CTL_OK;
	if (input_number(optarg, &number) < 0 || number > UINT32_MAX)
		return ctl_complain(parser->ctl, CTL_USAGE,
				    "measure: --%s %s: neither a model that is known, EPYC to "
				    "EPYC-Turin, nor a signature like 0x800f12",
				    name_of(word), optarg);
	guest->signature = (uint32_t)number;
	return CTL_OK;
}

static int take_vmm(const struct parser *parser)
{
	if (gm_vmm_find(optarg, &parser->options->guest.vmm) == 0)
		return CTL_OK;
	return complain(parser, VMM, "is not one of qemu, ec2, gce, kvm");
}

static int take_fpu(const struct parser *parser)
{
	bool zero = strcmp(optarg, "zero") == 0;

	if (!zero && strcmp(optarg, "reset") != 0)
		return complain(parser, FPU, "is neither zero nor reset");
	parser->options->guest.fpu = zero ? GM_FPU_ZERO : GM_FPU_RESET;
	return CTL_OK;
}

static int take_seed(const struct parser *parser)
{
	struct measure_options *options = parser->options;

	options->guest.seed = options->seed;
	if (strlen(optarg) == 2 * sizeof(options->seed) &&
	    input_hex(optarg, options->seed, sizeof(options->seed)) == 0)
		return CTL_OK;
	return complain(parser, OVMF_HASH, "is not 96 hex digits");
}

static int take_vcpu(struct parser *parser, enum word word)
{
	struct measure_options *options = parser->options;
	uint64_t number = 0;
	int r = CTL_OK;

	switch ((int)word) {
	case VCPUS:
		r = take_number(parser, word, GM_GUEST_VCPUS_MAX, &number);
		options->guest.vcpus = (unsigned)number;
		return r;
	case VCPU_TYPE:
	case VCPU_SIG:
		return take_type(parser, word);
	case VCPU_FAMILY:
		return take_number(parser, word, UINT32_MAX, &parser->family);
	case VCPU_MODEL:
		return take_number(parser, word, UINT32_MAX, &parser->model);
	case VCPU_STEPPING:
		return take_number(parser, word, UINT32_MAX, &parser->stepping);
	case FEATURES:
		return take_number(parser, word, UINT64_MAX, &options->guest.guest_features);
	case RDX:
		options->guest.rdx = &options->rdx;
		return take_number(parser, word, UINT64_MAX, &options->rdx);
	default:
		return CTL_USAGE;
	}
}

static const char **path_of(struct measure_options *options, enum word word)
{
	switch ((int)word) {
	case OVMF:
	case TDVF:
		return &options->firmware;
	case PAGES:
		return &options->pages;
	case DIFF:
		return &options->diff;
	case PLAN:
		return &options->plan;
	case KERNEL:
		return &options->kernel;
	case INITRD:
		return &options->initrd;
	case APPEND:
		return &options->append;
	case SVSM:
		return &options->svsm;
	default:
		return NULL;
	}
}

static int take(struct parser *parser, enum word word)
{
	struct measure_options *options = parser->options;
	const char **path = path_of(options, word);
	uint64_t number = 0;
	int r = CTL_OK;

	if (path) {
		*path = optarg;
		return CTL_OK;
	}
	switch ((int)word) {
	case VMM:
		return take_vmm(parser);
	case FPU:
		return take_fpu(parser);
	case OVMF_HASH:
		return take_seed(parser);
	case FIRMWARE_ONLY:
		options->guest.firmware_only = true;
		return CTL_OK;
	case JSON:
		parser->ctl->json = true;
		return CTL_OK;
	case VARS_SIZE:
		if (parse_size(optarg, &options->guest.svsm_vars_size) == 0)
			return CTL_OK;
		return complain(parser, word, "is no size");
	case THREADS:
		r = take_number(parser, word, 1024, &number);
		options->n_threads = (unsigned)number;
		return r;
	case GPA_BITS:
		r = take_number(parser, word, 64, &number);
		options->guest.gpa_bits = (unsigned)number;
		return r;
	default:
		return take_vcpu(parser, word);
	}
}

/* ---- what they say together ---- */

static int refuse_words(const struct parser *parser, uint64_t words, const char *what)
{
	for (int word = OVMF; word <= JSON; word++)
		if ((parser->given & words) >> (word - OVMF) & 1)
			return complain(parser, (enum word)word, what);
	return CTL_OK;
}

#define BIT(word) (UINT64_C(1) << ((word)-OVMF))
#define COMMON (BIT(DIFF) | BIT(PLAN) | BIT(THREADS) | BIT(JSON))
#define SIGNATURE (BIT(VCPU_FAMILY) | BIT(VCPU_MODEL) | BIT(VCPU_STEPPING))
#define VCPU (BIT(VCPUS) | BIT(VCPU_TYPE) | BIT(VCPU_SIG) | SIGNATURE | BIT(RDX) | BIT(FPU))
#define BOOT (BIT(KERNEL) | BIT(INITRD) | BIT(APPEND))
#define SNP_ONLY (BIT(OVMF_HASH) | BIT(FIRMWARE_ONLY) | BIT(SVSM) | BIT(VARS_SIZE) | BIT(GPA_BITS))

static int check_signature(struct parser *parser)
{
	struct gm_guest *guest = &parser->options->guest;
	uint64_t parts = parser->given & SIGNATURE;

	if ((parts != 0) + given(parser, VCPU_TYPE) + given(parser, VCPU_SIG) > 1)
		return complain(parser, VCPU_TYPE, "and its signature are the same: give one");
	if (parts == 0)
		return CTL_OK;
	if (parts != SIGNATURE)
		return complain(parser, VCPU_FAMILY, "goes with --vcpu-model and --vcpu-stepping");
	guest->has_signature = true;
	if (gm_cpu_signature((unsigned)parser->family, (unsigned)parser->model,
			     (unsigned)parser->stepping, &guest->signature) == 0)
		return CTL_OK;
	return complain(parser, VCPU_FAMILY, "with this model and stepping has no signature");
}

static int check_vcpus(struct parser *parser)
{
	const struct gm_guest *guest = &parser->options->guest;
	int r = check_signature(parser);
	uint64_t rdx;

	if (r != CTL_OK)
		return r;
	if (guest->kind == GM_LAUNCH_SEV || guest->firmware_only)
		return refuse_words(parser, VCPU | BIT(FEATURES) | BIT(VMM),
				    "is of vCPUs, which are not measured here");
	if (!given(parser, VCPUS))
		return complain(parser, VCPUS, "is needed: each vCPU's registers are measured");
	if (guest->vcpus > 0 && !guest->has_signature && !guest->rdx &&
	    (parser->options->svsm || !gm_vmm_has_fixed_rdx(guest->vmm, &rdx)))
		return complain(parser, VCPU_TYPE, "is needed: the vCPUs' registers hold it");
	return CTL_OK;
}

static int check_guest(struct parser *parser)
{
	struct measure_options *options = parser->options;
	uint64_t others = COMMON | VCPU | BOOT | SNP_ONLY | BIT(OVMF) | BIT(FEATURES) | BIT(VMM);
	int r = CTL_OK;

	if (options->kind == GM_LAUNCH_TDX) {
		if (!given(parser, TDVF))
			return complain(parser, TDVF, "is needed, or --pages");
		return refuse_words(parser, ~(COMMON | BIT(TDVF)), "is not for tdx");
	}
	if (!given(parser, OVMF))
		return complain(parser, OVMF, "is needed, or --pages");
	r = refuse_words(parser, ~others, "is not for this kind");
	if (r == CTL_OK && options->kind != GM_LAUNCH_SNP)
		r = refuse_words(parser, SNP_ONLY, "is for snp only");
	if (r == CTL_OK && !options->kernel)
		r = refuse_words(parser, BIT(INITRD) | BIT(APPEND), "needs --kernel");
	if (r == CTL_OK && given(parser, SVSM) != given(parser, VARS_SIZE))
		return complain(parser, SVSM, "and --svsm-vars-size go together");
	if (r == CTL_OK && given(parser, OVMF_HASH) && given(parser, FIRMWARE_ONLY))
		return complain(parser, OVMF_HASH, "and --firmware-only leave nothing to measure");
	return r == CTL_OK ? check_vcpus(parser) : r;
}

static int find_kind(struct ctl *ctl, const char *name, struct measure_options *options)
{
	for (int i = GM_LAUNCH_SNP; i < GM_LAUNCH_N_; i++) {
		if (strcmp(gm_launch_kind_name((enum gm_launch_kind)i), name) == 0) {
			options->kind = (enum gm_launch_kind)i;
			return CTL_OK;
		}
	}
	if (strcmp(name, "sev-es") != 0)
		return ctl_complain(ctl, CTL_USAGE,
				    "measure: \"%s\" is not one of snp, sev, seves, tdx", name);
	options->kind = GM_LAUNCH_SEV_ES;
	return CTL_OK;
}

static int check(struct parser *parser, int argc, char **argv)
{
	struct measure_options *options = parser->options;
	int r;

	if (argc - optind != 1)
		return ctl_complain(parser->ctl, CTL_USAGE,
				    "measure: one of snp, sev, seves, tdx is needed: see gmemctl "
				    "measure --help");
	r = find_kind(parser->ctl, argv[optind], options);
	if (r != CTL_OK)
		return r;
	options->guest.kind = options->kind;
	if (options->kind == GM_LAUNCH_SNP && !given(parser, FEATURES))
		options->guest.guest_features = GM_SEV_FEATURE_SNP;
	if (options->pages)
		return refuse_words(parser, ~(COMMON | BIT(PAGES)), "does not go with --pages");
	return check_guest(parser);
}

int measure_options_parse(struct ctl *ctl, int argc, char **argv,
			  struct measure_options *ret_options)
{
	struct parser parser = { .ctl = ctl, .options = ret_options };
	int word, r;

	*ret_options = (struct measure_options){ .n_threads = gm_hash_threads() };
	while ((word = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (word == 'h')
			return puts(help) < 0 ? CTL_FAILED : -1;
		if (word == '?')
			return CTL_USAGE;
		if (given(&parser, (enum word)word))
			return complain(&parser, (enum word)word, "is given twice");
		parser.given |= BIT(word);
		r = take(&parser, (enum word)word);
		if (r != CTL_OK)
			return r;
	}
	return check(&parser, argc, argv);
}
