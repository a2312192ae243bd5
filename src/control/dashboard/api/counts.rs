//! How an answer about the counts looks, for the description of the API: made of the words that
//! [`crate::aggregator::Answer`] is written with.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::aggregator::By;
use crate::pure::pull::rollup::MEASURE_NAMES;

/// The answer.
pub(super) enum Counts {}

impl PartialSchema for Counts {
    fn schema() -> RefOr<Schema> {
        let from = text_or_null().description(Some(
            "From when the counts are; earlier than asked where the short stretches are gone already. Null where \
             nothing was ever counted.",
        ));
        let to = ObjectBuilder::new().schema_type(Type::String);
        let rows = ArrayBuilder::new().items(row());
        let rows = rows.description(Some("One for each package and group, in their order."));
        let before = "The same of the period before, where that was asked for.";
        let answer = ObjectBuilder::new()
            .property("from", from)
            .property("to", to.description(Some("Until when, exclusive.")))
            .property("rows", rows)
            .property("totals", measures_of("The sum of all rows."))
            .property("previous", measures_of(before));
        let always = ["from", "to", "rows", "totals"];
        always.into_iter().fold(answer, ObjectBuilder::required).into()
    }
}

impl ToSchema for Counts {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Counts")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((MEASURES.to_owned(), measures(ObjectBuilder::new()).into()));
    }
}

/// A package, what it is told apart by where that was asked for, and the counts.
fn row() -> ObjectBuilder {
    let package = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("`<domain>/<name>`; of rows by domain that."))
        .examples([json!("registry.acme.com/acme/rocket")]);
    let row = ObjectBuilder::new().property("package", package).required("package");
    let row = By::EVERY.into_iter().fold(row, |row, by| {
        let key = ObjectBuilder::new().schema_type(Type::String);
        row.property(by.as_str(), key.description(Some("Where rows are told apart by it.")))
    });
    measures(row).property(
        "previous",
        measures_of("The counts of the period before, where that was asked for."),
    )
}

/// With all counts.
fn measures(object: ObjectBuilder) -> ObjectBuilder {
    MEASURE_NAMES.into_iter().fold(object, |object, name| {
        let count = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0u64));
        object.property(name, count).required(name)
    })
}

fn measures_of(about: &str) -> Ref {
    let mut measures = Ref::from_schema_name(MEASURES);
    measures.description = about.to_owned();
    measures
}

fn text_or_null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
}

const MEASURES: &str = "Measures";
