/* config_scalar.h - single values of the configuration: from text, and what a field allows in words. */
#ifndef HANSE_CONFIG_SCALAR_H
#define HANSE_CONFIG_SCALAR_H

#include "hanse/config.h"

#define CONFIG_WORDS_MAX 256

/* Store `text` at `base` + the field's offset. Returns NULL, or what is wrong with the text ("is no number").
 * TEXT: the old value is released; *nomem tells when memory ran out (and "" is returned). */
const char *config_scalar_set(const hanse_config_field *field, uint8_t *base, const char *text, size_t len, bool *nomem);

/* What the field allows, in words: "whole number 1 .. 100". Cut at CONFIG_WORDS_MAX. */
void config_allowed(const hanse_config_field *field, char out[CONFIG_WORDS_MAX]);

/* A field that holds one value, no map or list. */
bool config_is_scalar(const hanse_config_field *field);

#endif
