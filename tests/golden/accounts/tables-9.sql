-- What an account has done at an organisation is counted, and so are roles on packages of a domain.
CREATE INDEX audit_of_account ON audit (organisation, account, id);
CREATE INDEX package_members_of ON package_members (package);
