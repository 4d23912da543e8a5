/* SPDX-License-Identifier: Apache-2.0 */
#include "gm_launch_digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_le.h"
#include "gm_page_hash.h"

#define GPA_BITS_MIN 32
#define GPA_BITS_MAX 52
#define PAGE_INFO_SIZE 0x70
#define PAGES_AT_ONCE 65536
#define EXTEND_CHUNK 256
#define RECORD_SIZE 128

const char *gm_launch_kind_name(enum gm_launch_kind kind)
{
	static const char *const names[GM_LAUNCH_N_] = { [GM_LAUNCH_SNP] = "snp",
							 [GM_LAUNCH_SEV] = "sev",
							 [GM_LAUNCH_SEV_ES] = "seves",
							 [GM_LAUNCH_TDX] = "tdx" };

	return (unsigned)kind < GM_LAUNCH_N_ && names[kind] ? names[kind] : "unknown";
}

const char *gm_launch_page_name(enum gm_launch_page type)
{
	static const char *const names[GM_LAUNCH_PAGE_N_] = {
		[GM_LAUNCH_NORMAL] = "normal",	 [GM_LAUNCH_VMSA] = "vmsa",
		[GM_LAUNCH_ZERO] = "zero",	 [GM_LAUNCH_UNMEASURED] = "unmeasured",
		[GM_LAUNCH_SECRETS] = "secrets", [GM_LAUNCH_CPUID] = "cpuid",
	};

	return (unsigned)type < GM_LAUNCH_PAGE_N_ && names[type] ? names[type] : "unknown";
}

static bool is_byte_stream(enum gm_launch_kind kind)
{
	return kind == GM_LAUNCH_SEV || kind == GM_LAUNCH_SEV_ES;
}

size_t gm_launch_digest_size(enum gm_launch_kind kind)
{
	return is_byte_stream(kind) ? GM_SHA256_SIZE : GM_SHA384_SIZE;
}

int gm_launch_digest_start(struct gm_launch_digest *digest, const struct gm_launch_start *start,
			   struct gm_refusal *refusal)
{
	unsigned bits = start->gpa_bits ? start->gpa_bits : GPA_BITS_MAX;

	if (start->kind < GM_LAUNCH_SNP || start->kind >= GM_LAUNCH_N_)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_KIND, "launch",
				      "there is no kind %d", (int)start->kind);
	if (bits < GPA_BITS_MIN || bits > GPA_BITS_MAX)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_ADDRESS, "launch",
				      "addresses have %d to %d bits, not %u", GPA_BITS_MIN,
				      GPA_BITS_MAX, bits);
	if (start->seed && start->kind != GM_LAUNCH_SNP)
		return gm_refuse_text(refusal, GM_INVALID, GM_RULE_KIND, "launch",
				      "only an snp digest can begin from another");
	memset(digest, 0, sizeof(*digest));
	digest->kind = start->kind;
	digest->gpa_bits = (uint8_t)bits;
	if (start->seed)
		memcpy(digest->chain, start->seed, sizeof(digest->chain));
	gm_running_hash_init(&digest->running,
			     is_byte_stream(start->kind) ? GM_HASH_SHA256 : GM_HASH_SHA384);
	return 0;
}

/* ---- what may be put in ---- */

static int refuse_range(struct gm_refusal *refusal, enum gm_rule rule,
			const struct gm_launch_range *range, const char *why)
{
	char object[GM_OBJECT_MAX];

	(void)snprintf(object, sizeof(object), "%s 0x%" PRIx64 "+0x%" PRIx64,
		       gm_launch_page_name(range->type), range->gpa, range->length);
	return gm_refuse_text(refusal, GM_INVALID, rule, object, "%s", why);
}

static bool has_type(enum gm_launch_kind kind, enum gm_launch_page type)
{
	switch (kind) {
	case GM_LAUNCH_SNP:
		return type >= GM_LAUNCH_NORMAL && type < GM_LAUNCH_PAGE_N_;
	case GM_LAUNCH_SEV:
		return type == GM_LAUNCH_NORMAL;
	case GM_LAUNCH_SEV_ES:
		return type == GM_LAUNCH_NORMAL || type == GM_LAUNCH_VMSA;
	case GM_LAUNCH_TDX:
		return type == GM_LAUNCH_NORMAL || type == GM_LAUNCH_UNMEASURED;
	case GM_LAUNCH_N_:
		break;
	}
	return false;
}

static bool has_contents(enum gm_launch_page type)
{
	return type == GM_LAUNCH_NORMAL || type == GM_LAUNCH_VMSA;
}

static int check_pages(const struct gm_launch_digest *digest, const struct gm_launch_range *range,
		       struct gm_refusal *refusal)
{
	/* The top bit of a TDX guest's address says shared: such pages are in no digest. */
	unsigned bits = digest->gpa_bits - (digest->kind == GM_LAUNCH_TDX ? 1 : 0);
	uint64_t end;

	if (!gm_is_aligned(range->gpa, GM_PAGE_4K))
		return refuse_range(refusal, GM_RULE_ADDRESS, range,
				    "the address is not a multiple of 4096");
	if (range->length == 0 || !gm_is_aligned(range->length, GM_PAGE_4K))
		return refuse_range(refusal, GM_RULE_SIZE, range,
				    "the length is not a positive multiple of 4096");
	if (gm_add_overflows(range->gpa, range->length, &end) || end > UINT64_C(1) << bits)
		return refuse_range(refusal, GM_RULE_ADDRESS, range,
				    "it ends past the guest's last address");
	if (range->type == GM_LAUNCH_VMSA && range->length != GM_PAGE_4K)
		return refuse_range(refusal, GM_RULE_SIZE, range, "a VMSA is one page");
	return 0;
}

static int check_range(const struct gm_launch_digest *digest, const struct gm_launch_range *range,
		       struct gm_refusal *refusal)
{
	if (digest->finished)
		return gm_refuse_text(
			refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE, "launch",
			"the launch is finished: its digest does not change any more");
	if (!has_type(digest->kind, range->type))
		return refuse_range(refusal, GM_RULE_KIND, range,
				    "this kind of launch has no such pages");
	if (has_contents(range->type) && range->digests && digest->kind != GM_LAUNCH_SNP)
		return refuse_range(refusal, GM_RULE_SOURCE, range,
				    "this digest is of the bytes themselves, not of their hashes");
	if (!range->bytes && range->n_bytes > 0)
		return refuse_range(refusal, GM_RULE_SOURCE, range, "there are no bytes");
	if (range->n_bytes > range->length)
		return refuse_range(refusal, GM_RULE_SIZE, range,
				    "the contents are longer than the range");
	if (!is_byte_stream(digest->kind))
		return check_pages(digest, range, refusal);
	if (range->length == 0 || !gm_is_aligned(range->length, GM_LAUNCH_BLOCK))
		return refuse_range(refusal, GM_RULE_SIZE, range,
				    "the length is not a positive multiple of 16");
	if (range->type == GM_LAUNCH_VMSA && range->length != GM_PAGE_4K)
		return refuse_range(refusal, GM_RULE_SIZE, range, "a VMSA is one page");
	return 0;
}

/* ---- SNP: a chain over PAGE_INFO structures ---- */

struct chain {
	uint8_t *digest;
	enum gm_launch_page type;
	uint64_t gpa;
	const uint8_t (*contents)[GM_SHA384_SIZE]; /* of the page at gpa on; NULL: zeros */
};

static void extend_chain(void *data, size_t first, size_t end)
{
	struct chain *chain = data;
	uint8_t info[PAGE_INFO_SIZE] = { 0 };

	gm_put_le16(info + 0x60, PAGE_INFO_SIZE);
	info[0x62] = (uint8_t)chain->type;
	for (size_t i = first; i < end; i++) {
		memcpy(info, chain->digest, GM_SHA384_SIZE);
		if (chain->contents)
			memcpy(info + 0x30, chain->contents[i], GM_SHA384_SIZE);
		gm_put_le64(info + 0x68, chain->gpa + i * GM_PAGE_4K);
		gm_hash_bytes(GM_HASH_SHA384, info, sizeof(info), chain->digest);
	}
}

static int update_snp_hashing(struct chain *chain, const struct gm_launch_range *range,
			      unsigned n_threads)
{
	struct gm_hash_ready ready = { .tell = extend_chain, .data = chain };
	size_t n_pages = range->length / GM_PAGE_4K;
	size_t n_most = gm_min_u64(n_pages, PAGES_AT_ONCE);
	_gm_free_ uint8_t(*digests)[GM_SHA384_SIZE] = calloc(n_most, GM_SHA384_SIZE);
	static const uint8_t none[1];
	const uint8_t *bytes = range->bytes ? range->bytes : none;
	size_t n, there;
	int r = 0;

	if (!digests)
		return -ENOMEM;
	chain->contents = (const uint8_t(*)[GM_SHA384_SIZE])digests;
	for (size_t at = 0; r == 0 && at < n_pages; at += n) {
		n = gm_min_u64(n_pages - at, n_most);
		there = gm_min_u64(at * GM_PAGE_4K, range->n_bytes);
		chain->gpa = range->gpa + at * GM_PAGE_4K;
		r = gm_hash_pages(bytes + there, range->n_bytes - there, n, n_threads, &ready,
				  digests);
	}
	return r;
}

static int update_snp(struct gm_launch_digest *digest, const struct gm_launch_range *range,
		      unsigned n_threads)
{
	uint8_t next[GM_SHA384_SIZE];
	struct chain chain = { .digest = next, .type = range->type, .gpa = range->gpa };
	int r = 0;

	memcpy(next, digest->chain, sizeof(next));
	if (has_contents(range->type) && !range->digests) {
		r = update_snp_hashing(&chain, range, n_threads);
	} else {
		if (has_contents(range->type))
			chain.contents = range->digests;
		extend_chain(&chain, 0, range->length / GM_PAGE_4K);
	}
	if (r == 0)
		memcpy(digest->chain, next, sizeof(next));
	return r;
}

/* ---- SEV: the bytes; TDX: records, and the bytes in chunks ---- */

static void absorb_padded(struct gm_running_hash *hash, const struct gm_launch_range *range,
			  uint64_t at, size_t n)
{
	static const uint8_t zeros[GM_PAGE_4K];
	size_t there = at < range->n_bytes ? gm_min_u64(range->n_bytes - at, n) : 0;

	if (there > 0)
		gm_running_hash_update(hash, range->bytes + at, there);
	if (there < n)
		gm_running_hash_update(hash, zeros, n - there);
}

static void update_sev(struct gm_launch_digest *digest, const struct gm_launch_range *range)
{
	if (range->n_bytes > 0)
		gm_running_hash_update(&digest->running, range->bytes, range->n_bytes);
	for (uint64_t at = range->n_bytes, n; at < range->length; at += n) {
		n = gm_min_u64(range->length - at, GM_PAGE_4K);
		absorb_padded(&digest->running, range, at, n);
	}
}

#define RECORD_NAME_SIZE 16
static const uint8_t page_add[RECORD_NAME_SIZE] = "MEM.PAGE.ADD";
static const uint8_t mr_extend[RECORD_NAME_SIZE] = "MR.EXTEND";

static void absorb_record(struct gm_running_hash *hash, const uint8_t name[RECORD_NAME_SIZE],
			  uint64_t gpa)
{
	uint8_t record[RECORD_SIZE] = { 0 };

	memcpy(record, name, RECORD_NAME_SIZE);
	gm_put_le64(record + RECORD_NAME_SIZE, gpa);
	gm_running_hash_update(hash, record, sizeof(record));
}

/* KVM's order since INIT_MEM_REGION exists: each page is added, then extended, then the next. */
static void update_tdx(struct gm_launch_digest *digest, const struct gm_launch_range *range)
{
	for (uint64_t page = 0; page < range->length; page += GM_PAGE_4K) {
		absorb_record(&digest->running, page_add, range->gpa + page);
		if (range->type == GM_LAUNCH_UNMEASURED)
			continue;
		for (uint64_t at = page; at < page + GM_PAGE_4K; at += EXTEND_CHUNK) {
			absorb_record(&digest->running, mr_extend, range->gpa + at);
			absorb_padded(&digest->running, range, at, EXTEND_CHUNK);
		}
	}
}

static void spoil_by_permissions(struct gm_launch_digest *digest,
				 const struct gm_launch_range *range)
{
	if (range->imi)
		gm_launch_digest_spoil(digest,
				       "the page at 0x%" PRIx64 " is of an initial migration image",
				       range->gpa);
	for (size_t i = 0; i < sizeof(range->vmpl_perms); i++)
		if (range->vmpl_perms[i] != 0)
			gm_launch_digest_spoil(
				digest, "the page at 0x%" PRIx64 " has permissions for VMPL %zu",
				range->gpa, i + 1);
}

int gm_launch_digest_update(struct gm_launch_digest *digest, const struct gm_launch_range *range,
			    unsigned n_threads, struct gm_refusal *refusal)
{
	int r = check_range(digest, range, refusal);

	if (r != 0)
		return r;
	if (digest->kind == GM_LAUNCH_SNP)
		r = update_snp(digest, range, n_threads);
	else if (digest->kind == GM_LAUNCH_TDX)
		update_tdx(digest, range);
	else
		update_sev(digest, range);
	if (r < 0)
		return r;
	spoil_by_permissions(digest, range);
	digest->n_operations++;
	digest->n_pages += range->length / GM_PAGE_4K;
	return 0;
}

/* ---- what it is ---- */

void gm_launch_digest_spoil(struct gm_launch_digest *digest, const char *format, ...)
{
	va_list args;

	if (digest->unpredictable[0])
		return;
	va_start(args, format);
	(void)vsnprintf(digest->unpredictable, sizeof(digest->unpredictable), format, args);
	va_end(args);
	if (!digest->unpredictable[0])
		digest->unpredictable[0] = '?';
}

int gm_launch_digest_peek(const struct gm_launch_digest *digest, uint8_t ret_digest[GM_DIGEST_MAX],
			  struct gm_refusal *refusal)
{
	if (digest->unpredictable[0])
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_LAUNCH_STATE, "launch",
				      "unpredictable: %s", digest->unpredictable);
	if (digest->kind == GM_LAUNCH_SNP)
		memcpy(ret_digest, digest->chain, sizeof(digest->chain));
	else
		gm_running_hash_peek(&digest->running, ret_digest);
	return 0;
}

int gm_launch_digest_finish(struct gm_launch_digest *digest, uint8_t ret_digest[GM_DIGEST_MAX],
			    struct gm_refusal *refusal)
{
	if (digest->finished)
		return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE, "launch",
				      "the launch is finished already");
	digest->finished = true;
	return gm_launch_digest_peek(digest, ret_digest, refusal);
}
