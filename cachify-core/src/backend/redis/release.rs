//! Releases of locks and permits.

use redis::Value;
use tokio::time::timeout;

use super::error;
use super::message::slot_text;
use super::reach::unreachable;
use super::script::{self, Call, Spot};
use super::shared::Shared;
use crate::Error;
use crate::backend::{Slot, SlotKind, Token};

fn release_call(kind: SlotKind, spot: Spot<'_>, token: &str) -> Call {
    Call::new(&script::RELEASE, &spot.slot(kind))
        .arg(token)
        .arg(spot.wake())
        .arg(slot_text(kind, spot.key))
}

impl Shared {
    /// Builds the release of a slot that this process asked for.
    pub(super) fn release_of(&self, slot: &Slot, token: &Token) -> Call {
        let call = release_call(slot.kind, self.spot(&slot.key), token.as_str());
        if self.server.resent.contains(token) {
            call.arg("again")
        } else {
            call
        }
    }

    pub(super) async fn release(&self, slot: &Slot, token: &Token) -> Result<bool, Error> {
        let call = self.release_of(slot, token);
        let (mut released, mut again) = (false, false);
        loop {
            let (value, twice) = self.control.run_told(&call).await?;
            let Value::Int(bits @ 0..=3) = value else {
                return Err(error::garbled(&self.server.address.place));
            };
            released |= bits & 1 == 1;
            again |= twice;
            if bits & 2 == 0 {
                break;
            }
        }
        if again && !released {
            // The first of two copies of the request may have released the slot.
            return Err(unreachable(
                &self.server.address.place,
                "the connection broke",
            ));
        }
        Ok(released)
    }

    /// Releases the claim of a waiter that is gone, or its place in the queue if `deadline` is 0.
    /// The script does not release a hold that was collected.
    pub(super) fn give_back_claim(
        &self,
        kind: SlotKind,
        spot: Spot<'_>,
        token: &str,
        deadline: u64,
    ) {
        let call = release_call(kind, spot, token);
        self.give_back(call.arg("claim").arg(deadline));
    }

    /// Sends the release of an unwanted slot in the background.
    pub(super) fn give_back(&self, call: Call) {
        let (control, within) = (self.control.clone(), self.server.backend_timeout);
        tokio::spawn(async move {
            if !matches!(timeout(within, control.run(&call)).await, Ok(Ok(_))) {
                tracing::debug!("the release of an unwanted slot failed; its time to live ends it");
            }
        });
    }
}
