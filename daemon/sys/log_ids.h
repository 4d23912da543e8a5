/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MESSAGE_ID of the journal's entries: one for each kind of news, never used for another. What
 * each means, and what to do about it, is in units/gmemd.catalog (journalctl -x shows it).
 */
#ifndef GM_LOG_IDS_H
#define GM_LOG_IDS_H

#define GM_LOG_ID_GRANT "924da563478c4521892599d0f73dd9f3"
#define GM_LOG_ID_REFUSAL "44387c9c463c49c6b502ba95cc109fc1"
#define GM_LOG_ID_FAILURE "631295210d054a5ba7a6ce9757008ef0"
#define GM_LOG_ID_VIOLATION "89d80e857d67473da31edea7dd477ee1"
#define GM_LOG_ID_DOMAIN "95fc86aee5354a439b987e015ac3cdf3"
#define GM_LOG_ID_ATTACH "fd055bea3e8747e9b7ebe8db9d46498f"
#define GM_LOG_ID_ORPHAN "9018c16b3f2e48ab9253da2732f13e43"
#define GM_LOG_ID_END "d698fe86396d40aaa3b111bd110ee3ff"
#define GM_LOG_ID_EVICT "657f1003c0b34bb1a384cf417a68047e"
#define GM_LOG_ID_JOB "36aa495c0f1e4584bfed0152dc4dbc7f"
#define GM_LOG_ID_WORKER "9a26c4b21ca24b22b01ff4cb7ad76024"
#define GM_LOG_ID_QUARANTINE "de6eeb6b12ed48eeaf7d5287823495ac"
#define GM_LOG_ID_RELOAD "c3ee19febe294bcab6e3788347074d4b"
#define GM_LOG_ID_LOST "a61dc03c318f41e499469fc693ed916e"

#endif
