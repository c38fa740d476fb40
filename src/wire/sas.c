#include "wire/sas.h"
