/*
 * Hubs elsewhere, by the REST of their registry over HTTPS (iot-hub.md sections 2, 3 and 8): remote
 * Latchkey hubs and Azure IoT Hubs alike. Carries out provision/hub_link.h with net/client.h. One
 * lk_hub_http belongs to one loop; the board is shared.
 */
#ifndef LK_LINK_LINK_H
#define LK_LINK_LINK_H

#include "crypto/keyring.h"
#include "link/board.h"
#include "net/client.h"
#include "provision/hub_link.h"

#define LK_HUB_ANSWER_MAX (256u * 1024u) /* bytes of an answer; for lk_client_config */

struct lk_hub_http;

struct lk_hub_http_config {
    struct lk_client *client;  /* borrowed, as the next two; without an allow-list */
    struct lk_client *limited; /* with that of hub-allow, for hubs that were linked over the
                                  network */
    struct lk_hub_board *board;
    const struct lk_clock *clock;
    struct lk_keyring *keyring; /* referenced: it opens the hubs' connections */
};

LK_MUST_CHECK enum lk_err lk_hub_http_new(const struct lk_hub_http_config *config,
                                          struct lk_hub_http **ret);
void lk_hub_http_free(struct lk_hub_http *h); /* nothing may be under way */
LK_DEFINE_AUTO(struct lk_hub_http, lk_hub_http, lk_hub_http_free);
void lk_hub_http_set_keyring(struct lk_hub_http *h, struct lk_keyring *ring);

/* The link that provisioning uses. Borrows h. Its calls may answer before they return. */
struct lk_hub_link lk_hub_http_link(struct lk_hub_http *h);

/*
 * Try a hub: ask for the number of its devices, which takes its name, its certificate, our
 * credential and the right to read. err and detail as in lk_hub_answer; devices is set on LK_OK.
 */
typedef void lk_hub_probed_fn(void *arg, const struct lk_hub_answer *answer, int64_t devices);
void lk_hub_http_probe(struct lk_hub_http *h, const struct lk_hub *hub, lk_hub_probed_fn *done,
                       void *arg);

#endif
