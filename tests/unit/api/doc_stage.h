/* Bodies of the operators' API, read and written, for tests. */
#ifndef LK_TEST_DOC_STAGE_H
#define LK_TEST_DOC_STAGE_H

#include "api/enrollment_json.h"
#include "bodies.h"

struct doc_stage {
    struct lk_enrollment_doc doc;
    struct lk_svc_fault fault;
};

void doc_start(struct doc_stage *d);
void doc_stop(struct doc_stage *d);

/* Read body, which is JSON and is freed, into d->doc. */
enum lk_err doc_read(struct doc_stage *d, enum lk_entity entity, char *body);
/* Fail unless it is read. */
void doc_accept(struct doc_stage *d, enum lk_entity entity, char *body);
/* Fail unless it is refused with code and a message that holds word. */
void doc_refuse(struct doc_stage *d, enum lk_entity entity, char *body, int32_t code,
                const char *word);
/* What an answer shows of d->doc, keys included when it has them; owned by the caller. */
json_t *doc_write(struct doc_stage *d, enum lk_entity entity);
/* The text at a path of members apart by '/' ("attestation/tpm/endorsementKey"); numbers are
 * places in an array. NULL when there is none. */
const char *doc_text(const json_t *object, const char *path);
json_t *doc_at(const json_t *object, const char *path);

#endif
