//! `POST /account` at the control socket: what `pullgate account` asks, a [`Command`], answered with what
//! came of it, or with 400 and `{"error": "<words>"}`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::socket::refused;
use crate::control::accounts::command::{Command, obey};
use crate::control::accounts::{Accounts, now_s};

pub(super) fn routes(accounts: Accounts) -> Router {
    Router::new().route("/account", post(account)).with_state(accounts)
}

async fn account(State(accounts): State<Accounts>, Json(command): Json<Command>) -> Response {
    match accounts.run(move |store| obey(store, command, now_s())).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}
