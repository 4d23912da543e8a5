/* SPDX-License-Identifier: Apache-2.0 */
/* The MACs and keys of a session, with keys that are given: for those who check another program. */
#include <errno.h>
#include <string.h>

#include "gm_platform_mac.h"
#include "pages.h"

static int need_number(json_object *object, const char *key, uint64_t max, uint64_t *ret_number,
		       struct gm_refusal *refusal)
{
	bool has;
	int r = input_get_number(object, key, &has, ret_number, refusal);

	if (r != 0)
		return r;
	return has && *ret_number <= max ? 0
					 : input_refuse(refusal, key, "is not there, or too large");
}

static int run_launch_measure(json_object *object, struct pages_result *result,
			      struct gm_refusal *refusal)
{
	struct gm_launch_measure measure;
	uint64_t major = 0, minor = 0, build = 0, policy = 0;
	int r = need_number(object, "api_major", UINT8_MAX, &major, refusal);

	if (r == 0)
		r = need_number(object, "api_minor", UINT8_MAX, &minor, refusal);
	if (r == 0)
		r = need_number(object, "build", UINT8_MAX, &build, refusal);
	if (r == 0)
		r = need_number(object, "policy", UINT32_MAX, &policy, refusal);
	if (r == 0)
		r = input_need_hex(object, "tik", measure.tik, sizeof(measure.tik), refusal);
	if (r == 0)
		r = input_need_hex(object, "digest", measure.digest, sizeof(measure.digest),
				   refusal);
	if (r == 0)
		r = input_need_hex(object, "mnonce", measure.mnonce, sizeof(measure.mnonce),
				   refusal);
	measure.api_major = (uint8_t)major;
	measure.api_minor = (uint8_t)minor;
	measure.build = (uint8_t)build;
	measure.policy = (uint32_t)policy;
	return r == 0 ? gm_launch_measure_mac(&measure, result->digest) : r;
}

static int run_kdf(json_object *object, struct pages_result *result, struct gm_refusal *refusal)
{
	struct input_bytes key = { 0 }, context = { 0 };
	const char *label = NULL;
	int r = input_get_hex(object, "key", &key, refusal);

	if (r == 0)
		r = input_get_hex(object, "context", &context, refusal);
	if (r == 0)
		r = input_get_text(object, "label", &label, refusal);
	if (r == 0 && (!key.bytes || !label))
		r = input_refuse(refusal, "kdf", "needs a key and a label");
	if (r == 0)
		r = gm_session_kdf(key.bytes, key.size, label, context.bytes, context.size,
				   result->digest);
	if (r == -EINVAL)
		r = input_refuse(refusal, "kdf", "label and context are over 256 bytes");
	result->digest_size = GM_SESSION_KEY_SIZE;
	input_bytes_done(&key);
	input_bytes_done(&context);
	return r;
}

static int run_wrap_mac(json_object *object, struct pages_result *result,
			struct gm_refusal *refusal)
{
	struct input_bytes z = { 0 }, nonce = { 0 }, wrapped = { 0 };
	int r = input_get_hex(object, "z", &z, refusal);

	if (r == 0)
		r = input_get_hex(object, "nonce", &nonce, refusal);
	if (r == 0)
		r = input_get_hex(object, "wrap_tk", &wrapped, refusal);
	if (r == 0 && (!z.bytes || !nonce.bytes || !wrapped.bytes || nonce.size > 128))
		r = input_refuse(refusal, "hmac_kik_wrap", "needs z, nonce and wrap_tk");
	if (r == 0)
		r = gm_session_wrap_mac(z.bytes, z.size, nonce.bytes, nonce.size, wrapped.bytes,
					wrapped.size, result->digest);
	input_bytes_done(&z);
	input_bytes_done(&nonce);
	input_bytes_done(&wrapped);
	return r;
}

static int run_policy_mac(json_object *object, struct pages_result *result,
			  struct gm_refusal *refusal)
{
	uint8_t tik[GM_SESSION_KEY_SIZE];
	uint64_t policy = 0;
	int r = input_need_hex(object, "tik", tik, sizeof(tik), refusal);

	if (r == 0)
		r = need_number(object, "policy", UINT32_MAX, &policy, refusal);
	return r == 0 ? gm_session_policy_mac(tik, (uint32_t)policy, result->digest) : r;
}

int pages_run_mac(json_object *object, struct pages_result *result, struct gm_refusal *refusal)
{
	static const struct {
		const char *kind;
		int (*run)(json_object *object, struct pages_result *result,
			   struct gm_refusal *refusal);
	} kinds[] = {
		{ "launch_measure", run_launch_measure },
		{ "kdf", run_kdf },
		{ "hmac_kik_wrap", run_wrap_mac },
		{ "policy_mac", run_policy_mac },
	};
	const char *kind = NULL;
	int r = input_get_text(object, "kind", &kind, refusal);

	result->digest_size = GM_SHA256_SIZE;
	if (r != 0)
		return r;
	for (size_t i = 0; kind && i < GM_ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].run(object, result, refusal);
	return input_refuse(refusal, "kind", "\"%.40s\" is not known", kind ? kind : "null");
}
