#include <exception>
#include <new>
#include <string>
#include <vector>

#include <sentencepiece_processor.h>

extern "C" {
#include "text/sentencepiece.h"
}

struct TimSentencepiece {
    sentencepiece::SentencePieceProcessor processor;
    TimSentencepieceInfo info;
};

/* Runs `work`, which returns a status, and makes an error of whatever it throws. */
template <typename Work>
static TimStatus guarded(TimError *err, Work work) {
    try {
        return work();
    } catch (const std::bad_alloc &) {
        return tim_fail(err, TIM_E_MEMORY, "no memory for SentencePiece; free some");
    } catch (const std::exception &problem) {
        return tim_fail(err, TIM_E_INTERNAL, "SentencePiece fails: %s", problem.what());
    } catch (...) {
        return tim_fail(err, TIM_E_INTERNAL, "SentencePiece fails, and does not say why");
    }
}

static TimStatus load(TimSentencepiece *model, const uint8_t *bytes, size_t size, TimError *err) {
    const sentencepiece::util::Status status =
        model->processor.LoadFromSerializedProto(absl::string_view(reinterpret_cast<const char *>(bytes), size));
    if (!status.ok())
        return tim_fail(err, TIM_E_FORMAT, "SentencePiece does not take the model: %s; is the download complete?",
                        status.ToString().c_str());
    const sentencepiece::SentencePieceProcessor &processor = model->processor;
    model->info = {processor.GetPieceSize(), processor.bos_id(), processor.eos_id(), processor.pad_id(), processor.unk_id()};
    return TIM_OK;
}

TimStatus tim_sentencepiece_new(TimSentencepiece **model, const uint8_t *bytes, size_t size, TimError *err) {
    *model = nullptr;
    TimSentencepiece *made = nullptr;
    const TimStatus status = guarded(err, [&] {
        made = new TimSentencepiece();
        return load(made, bytes, size, err);
    });
    if (status == TIM_OK)
        *model = made;
    else
        tim_sentencepiece_free(made);
    return status;
}

void tim_sentencepiece_free(TimSentencepiece *model) {
    delete model;
}

TimStatus tim_sentencepiece_encode(const TimSentencepiece *model, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    return guarded(err, [&] {
        std::vector<int> found;
        const sentencepiece::util::Status status = model->processor.Encode(absl::string_view(text, size), &found);
        if (!status.ok()) return tim_fail(err, TIM_E_INTERNAL, "SentencePiece does not encode: %s", status.ToString().c_str());
        for (const int id : found) {
            const TimStatus added = tim_token_ids_add(ids, id, err);
            if (added != TIM_OK) return added;
        }
        return TIM_OK;
    });
}

TimSentencepieceInfo tim_sentencepiece_info(const TimSentencepiece *model) {
    return model->info;
}

const char *tim_sentencepiece_piece(const TimSentencepiece *model, int32_t id) {
    return model->processor.IdToPiece(id).c_str();
}
