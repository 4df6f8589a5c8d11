//! What an engine's answer means, as the remote-write specification has it. Pure.

use http::StatusCode;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metrics) enum Answer {
    Taken,
    /// Never to be sent again.
    Refused,
    /// To be sent again: the engine, or what stands before it, is away or asks for patience.
    Later,
    /// To be sent again, but maybe it is this request that the engine has trouble with.
    Trouble,
}

impl Answer {
    pub(in crate::metrics) fn of(status: StatusCode) -> Self {
        match status {
            status if status.is_success() => Self::Taken,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Later,
            status if status.is_server_error() => Self::Trouble,
            _ => Self::Refused,
        }
    }

    /// The same where a refusal sets samples aside for good: what may be the operator's mistake, such as a wrong path or
    /// token, is worth waiting for.
    pub(in crate::metrics) fn of_metric_store(status: StatusCode) -> Self {
        match Self::of(status) {
            Self::Refused => match status {
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                    Self::Refused
                }
                _ => Self::Later,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_on_the_other_side_is_worth_another_attempt() {
        let of = |status| Answer::of(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([200, 204].map(of), [Answer::Taken; 2]);
        assert_eq!([429, 502, 503, 504].map(of), [Answer::Later; 4]);
        assert_eq!([500, 501, 507].map(of), [Answer::Trouble; 3]);
        assert_eq!([301, 400, 401, 404, 413].map(of), [Answer::Refused; 5]);
    }

    #[test]
    fn a_wrong_token_sets_nothing_aside() {
        let of = |status| Answer::of_metric_store(StatusCode::from_u16(status).expect("a status"));
        assert_eq!([301, 401, 403, 404, 429, 503].map(of), [Answer::Later; 6]);
        assert_eq!([400, 413, 422].map(of), [Answer::Refused; 3]);
        assert_eq!((of(204), of(500)), (Answer::Taken, Answer::Trouble));
    }
}
