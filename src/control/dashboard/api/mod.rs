//! `/api/v1`: what programs ask and do, with a token of somebody who may (`Authorization: Bearer …`). A
//! browser's session reads here too; it changes nothing, because a page of another site could send it.
//!
//! Answers are JSON; lists come in pages (`limit`, `after`), `{"items": […], "next": …}`. What is wrong is
//! `application/problem+json` (RFC 9457). Each answer to a GET has an `ETag`, but for those that go on for
//! long; who changes or removes what is there says in `If-Match` which state of it they mean. The description
//! of all of it is made from this code: `/api/v1/openapi.json`, and `/api` for people.

mod alerts;
mod audit;
mod badges;
mod caller;
mod counts;
mod explain;
mod export;
mod first_pull;
mod join;
mod live;
mod organisations;
mod owners;
mod package;
mod package_past;
mod packages;
mod people;
mod problem;
mod pulls;
mod reference;
mod refusal;
mod settings;
mod shapes;
mod tagged;
mod tokens;

use axum::Router;
use axum::middleware::map_response;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Dashboard;

/// All of it, and its description.
pub(super) fn routes() -> Router<Dashboard> {
    let (routes, described) = OpenApiRouter::<Dashboard>::with_openapi(Api::openapi())
        .routes(routes!(packages::list, package::make))
        .routes(routes!(package::one, package::change, package::remove))
        .routes(routes!(package_past::check))
        .routes(routes!(package_past::history))
        .routes(routes!(package_past::revert))
        .routes(routes!(first_pull::guide, first_pull::look))
        .routes(routes!(settings::one, settings::change))
        .routes(routes!(badges::list, badges::switch))
        .routes(routes!(pulls::pulls))
        .routes(routes!(live::live))
        .routes(routes!(export::export))
        .routes(routes!(explain::explain))
        .routes(routes!(people::list))
        .routes(routes!(people::one, people::change, people::remove))
        .routes(routes!(people::invitations, people::invite))
        .routes(routes!(people::invitation, people::withdraw))
        .routes(routes!(join::look, join::join))
        .routes(routes!(tokens::list, tokens::make))
        .routes(routes!(tokens::one, tokens::revoke))
        .routes(routes!(tokens::everybodys))
        .routes(routes!(tokens::anybodys, tokens::end))
        .routes(routes!(alerts::list, alerts::make))
        .routes(routes!(alerts::one, alerts::change, alerts::remove))
        .routes(routes!(alerts::test))
        .routes(routes!(audit::list))
        .routes(routes!(organisations::list, organisations::make))
        .routes(routes!(organisations::domains, organisations::claim))
        .routes(routes!(organisations::domain, organisations::check, organisations::withdraw))
        .routes(routes!(owners::one, owners::change))
        .split_for_parts();
    let mut described = described;
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    if let Some(components) = &mut described.components {
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
    let routes = routes.merge(reference::routes(described));
    routes.route("/api/{*rest}", problem::no_such()).layer(map_response(problem::of_router))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "pullgate",
        description = "Packages, pulls, people and tokens of a gateway in front of container \
                       registries."
    ),
    security(("token" = [])),
    components(schemas(problem::ProblemBody)),
    tags(
        (name = "packages", description = "What is served"),
        (name = "pulls", description = "What was counted"),
        (name = "people", description = "Who has which role"),
        (name = "tokens", description = "What programs come with"),
        (name = "alerts", description = "Who is told what happens"),
        (name = "organisations", description = "Whose packages are, and whose domains"),
        (name = "audit", description = "Who did what"),
    )
)]
struct Api;
