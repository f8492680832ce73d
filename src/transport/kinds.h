/* The five transports, each defined in the file of its name; the rest of the library goes through tim_transport_get. */
#ifndef TIM_TRANSPORT_KINDS_H
#define TIM_TRANSPORT_KINDS_H

#include "transport/transport.h"

extern const TimTransport tim_transport_ot_fm;
extern const TimTransport tim_transport_trigflow;
extern const TimTransport tim_transport_edm;
extern const TimTransport tim_transport_vp_sde;
extern const TimTransport tim_transport_ve_sde;

#endif
