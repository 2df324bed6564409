-- A throw-away password, of the form that Neon's console shows.
CREATE ROLE neondb_owner LOGIN PASSWORD 'npg_Qx7Lw2Rt9Kb';
CREATE DATABASE neondb OWNER neondb_owner;
